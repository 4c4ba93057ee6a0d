from zooadapt.cli import main

main()

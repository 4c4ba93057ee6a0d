"""Where pretrained models come from: plugins, the Hub, folders."""

"""Train policies: actions, rewards, environments, the training loop, bundles, and policies as strategies."""

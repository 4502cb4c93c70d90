"""What the stages share: characters, images, writers, runs. It imports no stage."""

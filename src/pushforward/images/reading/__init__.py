"""Images are read: arrays, NPZ files, and folders of PNG or JPEG files become levels of pixels."""

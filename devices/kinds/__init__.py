"""One file per kind of device: its name in a spec is the file's, its DeviceEntry is called DEVICE. They load without any extra."""

"""QEMU's boards: real interrupts, fault registers and fault handlers."""

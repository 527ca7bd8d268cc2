// Package arm64test has tests that boot an arm64 kernel with Debian's programs and run tests of other packages on it: those of
// signals, processes, terminals, memory and files, which depend on the processor or the kernel.
//
// The processor is emulated; a boot takes ten seconds. The tests require root, qemu-system-aarch64, apt, dpkg-deb and cpio. They
// download the kernel and programs from Debian once, and keep them in the folder for temporary files.
package arm64test

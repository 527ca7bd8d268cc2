// Package arm64test boots a kernel for arm64, with Debian's programs around it, and runs tests of other packages on
// it: those of signals, processes, terminals, memory and files, where code for another processor or another kernel
// could do something else.
//
// Everything is in its tests. The processor is emulated, and a boot takes ten seconds. They need root, qemu-system-aarch64,
// apt, dpkg-deb and cpio; kernel and programs come from Debian, once, and stay in the folder for temporary files.
package arm64test

//go:build !linux

package harden

import "os"

// startBlocks returns the memory of the arguments, which other processes see.
func startBlocks() (blocks [][]byte, err error) {
	for _, arg := range os.Args {
		blocks = append(blocks, memoryOf(arg))
	}
	return blocks, nil
}

// ForbidDumps does nothing on this system.
func ForbidDumps() error { return nil }

// ForbidCores does nothing on this system.
func ForbidCores() error { return nil }

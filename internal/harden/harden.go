// Package harden restricts what other processes can read of this one: its memory, core files, arguments and environment.
package harden

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"unsafe"
)

// Overwrite overwrites each occurrence of the texts in this process's arguments and environment with zeros: in the memory that
// /proc/PID/cmdline and /proc/PID/environ show, and in the strings of os.Args and os.Environ. Clone first what is still needed.
func Overwrite(texts ...[]byte) error {
	texts = slices.DeleteFunc(texts, func(text []byte) bool { return len(text) == 0 })
	if len(texts) == 0 {
		return nil
	}
	blocks, err := startBlocks()
	for _, entry := range os.Environ() {
		blocks = append(blocks, memoryOf(entry))
	}
	for _, block := range blocks {
		for _, text := range texts {
			wipe(block, text)
		}
	}
	return err
}

// HideVariable overwrites the value of an environment variable where other processes see it. os.Getenv still returns it.
func HideVariable(name string) error {
	value := strings.Clone(os.Getenv(name)) // the block below is its memory
	if value == "" {
		return nil
	}
	blocks, err := startBlocks()
	for _, entry := range os.Environ() {
		blocks = append(blocks, memoryOf(entry))
	}
	for _, block := range blocks {
		for entry := range bytes.SplitSeq(block, []byte{0}) {
			if own, ok := bytes.CutPrefix(entry, []byte(name+"=")); ok {
				clear(own)
			}
		}
	}
	return errors.Join(err, os.Setenv(name, value))
}

// wipe overwrites each occurrence of text in b with zeros.
func wipe(b, text []byte) {
	for {
		i := bytes.Index(b, text)
		if i < 0 {
			return
		}
		clear(b[i : i+len(text)])
		b = b[i+len(text):]
	}
}

// memoryOf returns the memory of s. The strings of os.Args and os.Environ are writable.
func memoryOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

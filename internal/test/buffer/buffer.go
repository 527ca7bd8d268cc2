// Package buffer has a buffer for the logs and the output of programs under test.
package buffer

import (
	"bytes"
	"sync"
)

// Buffer is a bytes.Buffer that can be read while others write to it. The zero Buffer is empty.
type Buffer struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns what has been written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

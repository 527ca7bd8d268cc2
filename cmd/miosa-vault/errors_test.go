package main

import (
	"bytes"
	"strings"
	"testing"
)

// Control characters in a path are escaped in error messages.
func TestErrorsArePrintable(t *testing.T) {
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"dev", "--resource", "sandbox:sb_1", "--seed", "no\x1b[31m\u202e.env"}, &bytes.Buffer{}, &stderr)
	if got := stderr.String(); code == 0 || strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, `no\x1b[31m\u202e.env`) {
		t.Errorf("exit code %d, %q", code, got)
	}
}

//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

// idling requires /proc.
func (config) idling(context.Context, string, io.Writer) ([]string, error) {
	return nil, errors.New("an idle agent can be measured on Linux only: leave it out with -only startup,rotation")
}

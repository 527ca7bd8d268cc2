//go:build !linux

package main

import (
	"context"
	"errors"
	"net"
)

// listenAbsent has no equivalent here.
func listenAbsent(context.Context, string) (net.Listener, error) { return nil, errors.ErrUnsupported }

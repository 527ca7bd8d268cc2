//go:build !linux

package agent

import (
	"errors"
	"net"
)

// unitOfPeer doesn't know here: nobody gets a credential.
func unitOfPeer(*net.UnixConn) (peer, string, error) { return peer{}, "", errors.ErrUnsupported }

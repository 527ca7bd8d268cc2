//go:build !linux

package proxy

import (
	"errors"
	"net"
)

// originalDestination has no equivalent here.
func originalDestination(net.Conn) (destination, error) {
	return destination{}, errors.New("a transparent proxy needs Linux")
}

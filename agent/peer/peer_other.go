//go:build !linux

package peer

import "errors"

// OfFD returns an error, so that no client is served and no server is trusted.
func OfFD(int) (Peer, error) { return Peer{}, errors.ErrUnsupported }

func groups(int) ([]uint32, error) { return nil, errors.ErrUnsupported }

func unitOfProcess(int, int) (string, error) { return "", errors.ErrUnsupported }

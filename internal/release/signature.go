package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The signature of the checksums, as ssh-keygen makes and verifies it. install.sh has the same names.
// Source: docs/adr/0024-signed-checksums.md.
const (
	signatureFile = sumsFile + ".sig"
	signer        = "release"
	namespace     = "miosa-env-release" // a signature of the same key for another purpose isn't one of a release
)

// sign signs the checksums with the private key in a file, or with the key in ssh-agent whose public key is in it. Without a key it
// removes an older signature.
func (r *release) sign(ctx context.Context) error {
	signature := filepath.Join(r.out, signatureFile)
	if err := os.Remove(signature); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.signKey == "" {
		return nil
	}
	return sshKeygen(ctx, nil, "-Y", "sign", "-q", "-f", r.signKey, "-n", namespace, filepath.Join(r.out, sumsFile))
}

// verifySignature verifies the signature of the checksums with the public key in a file. Without a key it does nothing.
func (r *release) verifySignature(ctx context.Context) error {
	if r.publicKey == "" {
		return nil
	}
	key, err := os.ReadFile(r.publicKey)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(r.out, sumsFile))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	signers := filepath.Join(dir, "signers")
	line := fmt.Sprintf("%s namespaces=%q %s\n", signer, namespace, strings.TrimSpace(string(key)))
	if err := os.WriteFile(signers, []byte(line), 0o600); err != nil {
		return err
	}
	err = sshKeygen(ctx, sums, "-Y", "verify", "-f", signers, "-I", signer, "-n", namespace, "-s", filepath.Join(r.out, signatureFile))
	if err != nil {
		return fmt.Errorf("%s isn't signed by %s: %w", sumsFile, r.publicKey, err)
	}
	return nil
}

func sshKeygen(ctx context.Context, stdin []byte, args ...string) error {
	c := exec.CommandContext(ctx, "ssh-keygen", args...)
	c.Stdin = bytes.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

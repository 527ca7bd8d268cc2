package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

// certificate is a TLS certificate that can be reloaded while it is in use. nil is plain HTTP.
type certificate struct {
	certFile, keyFile string
	loaded            atomic.Pointer[tls.Certificate]
}

// loadCertificate returns nil when no files are named.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.load()
}

// load ignores byte order marks, which some editors add.
func (c *certificate) load() error {
	cert, err := os.ReadFile(c.certFile)
	key, keyErr := trusted.ReadSecret(c.keyFile)
	var pair tls.Certificate
	if err == nil {
		err = keyErr
	}
	if err == nil {
		mark := []byte("\xef\xbb\xbf")
		pair, err = tls.X509KeyPair(bytes.TrimPrefix(cert, mark), bytes.TrimPrefix(key, mark))
	}
	if err != nil {
		return fmt.Errorf("load certificate %s: %w", c.certFile, err)
	}
	c.loaded.Store(&pair)
	return nil
}

// tls returns nil for plain HTTP.
func (c *certificate) tls() *tls.Config {
	if c == nil {
		return nil
	}
	current := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.loaded.Load(), nil }
	return &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: current}
}

// reloadOn loads the files at each signal until ctx ends. After an error the old certificate stays.
func (c *certificate) reloadOn(ctx context.Context, signals <-chan os.Signal, log zerolog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		if c == nil {
			log.Info().Msg("no certificate to reload")
			continue
		}
		if err := c.load(); err != nil {
			log.Error().Err(err).Msg("certificate not reloaded")
			continue
		}
		log.Info().Msg("certificate reloaded")
	}
}

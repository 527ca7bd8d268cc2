package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/Miosa-osa/miosa-env/internal/devvault"
)

// systemRoots are the files in which systems keep their root certificates.
var systemRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// tlsProxy terminates TLS in front of a vault.
type tlsProxy struct {
	listener  net.Listener
	root      string // file with its root certificate
	roots     string // file with the system's root certificates and its own
	noFolders string // empty folder, for SSL_CERT_DIR
}

// startTLS starts a proxy in front of the machine's vault. Its files are in the machine's folder.
func (m *machine) startTLS(ctx context.Context) (*tlsProxy, error) {
	p := &tlsProxy{
		root: filepath.Join(m.dir, "root.pem"), roots: filepath.Join(m.dir, "roots.pem"), noFolders: filepath.Join(m.dir, "no-roots"),
	}
	root, server, err := devvault.NewCertificates()
	if err != nil {
		return nil, err
	}
	var system []byte
	for _, path := range systemRoots {
		if system, err = os.ReadFile(path); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the system's root certificates: %w (install the ca-certificates package)", err)
	}
	err = errors.Join(os.WriteFile(p.root, root, 0o600), os.WriteFile(p.roots, append(system, root...), 0o600), os.Mkdir(p.noFolders, 0o700))
	if err != nil {
		return nil, err
	}
	plain, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.listener = tls.NewListener(plain, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{server}})
	go func() {
		for {
			client, err := p.listener.Accept()
			if err != nil {
				return
			}
			go relay(ctx, client, strings.TrimPrefix(m.vault.URL(), "http://"))
		}
	}()
	return p, nil
}

// relay copies data between a client and the vault until either closes its connection.
func relay(ctx context.Context, client net.Conn, vault string) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", vault)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, client)
	_ = server.Close()
}

// environ returns the environment of a program that gets its values through the proxy, and more variables.
func (p *tlsProxy) environ(m *machine, more ...string) []string {
	env := append(m.vaultEnv(), "MIOSA_BASE_URL="+p.url()+"/api/v1") // the last counts
	return append(env, more...)
}

func (p *tlsProxy) url() string { return "https://" + p.listener.Addr().String() }

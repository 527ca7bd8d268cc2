package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/internal/test/reveals"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
	"github.com/Miosa-osa/miosa-env/vault/store"
)

// data is what the vaults of a database have: one tenant with all agents.
type data struct {
	name     string
	database string // URL; "": SQLite
	dir      string // contains the data directory, the root key and the certificate

	tenantKey api.Key
	agents    []reveals.Agent
	shared    string   // id of a secret that all agents have
	own       []string // ids of the secrets of one agent each
	trust     *tls.Config
}

func (d *data) dataDir() string { return filepath.Join(d.dir, "data") }
func (d *data) rootKey() string { return filepath.Join(d.dir, "root.key") }
func (d *data) cert() string    { return filepath.Join(d.dir, "cert.pem") }
func (d *data) certKey() string { return filepath.Join(d.dir, "cert.key") }
func (d *data) root() string    { return filepath.Join(d.dir, "root.pem") }

// withDatabase calls do with the named database, in which the agents have their secrets, and removes it.
func (c *config) withDatabase(ctx context.Context, name string, do func(*data) error) (err error) {
	d := &data{name: name}
	if d.dir, err = os.MkdirTemp(c.dir, "herd-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	switch name {
	case "sqlite":
	case "postgres":
		url, stop, err := postgrestest.Run("fsync=on")
		if err != nil {
			return err
		}
		defer stop()
		d.database = url
	default:
		d.name, d.database = "postgres", name
	}
	if err := d.certify(); err != nil {
		return err
	}
	if err := c.fill(ctx, d); err != nil {
		return fmt.Errorf("fill the database: %w", err)
	}
	return do(d)
}

// certify makes the certificate of the vaults.
func (d *data) certify() error {
	root, server, err := devvault.NewCertificates()
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	d.trust = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, ServerName: "127.0.0.1"}
	return errors.Join(
		os.WriteFile(d.root(), root, 0o600),
		os.WriteFile(d.cert(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}), 0o600),
		os.WriteFile(d.certKey(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600),
	)
}

// fill stores the secrets, bindings and keys of the agents.
func (c *config) fill(ctx context.Context, d *data) error {
	key, err := keyring.NewRoot()
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.rootKey(), []byte(key.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	root, err := keyring.FindRoot(d.rootKey(), func(string) string { return "" })
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{DataDir: d.dataDir(), Database: d.database, RootKey: root, Shared: true})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	const tenant = "acme"
	issued, err := s.CreateTenantKey(ctx, tenant)
	if err != nil {
		return err
	}
	d.tenantKey = issued.Key
	operator, err := s.LocalActor(ctx, tenant)
	if err != nil {
		return err
	}
	shared := make([]string, c.bindings)
	for i := range shared {
		secret, _, _, err := s.PutSecret(ctx, operator, api.NewSecret{Name: fmt.Sprintf("shared %d", i), Value: someValue(i), Scope: "tenant"}, nil)
		if err != nil {
			return err
		}
		shared[i] = secret.ID
	}
	d.shared, d.own, d.agents = shared[0], make([]string, c.agents), make([]reveals.Agent, c.agents)
	group, ctx := errgroup.WithContext(ctx)
	const atOnce = 128 // they share commits
	group.SetLimit(atOnce)
	for i := range d.agents {
		group.Go(func() error {
			r := api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%d", i)}
			secret, _, _, err := s.PutSecret(ctx, operator, api.NewSecret{Name: fmt.Sprintf("own %d", i), Value: someValue(i), Resource: r, ExposeAsEnv: "OWN"}, nil)
			if err != nil {
				return err
			}
			d.own[i] = secret.ID
			for n, id := range shared {
				if _, _, err := s.CreateBinding(ctx, operator, api.NewBinding{SecretID: id, Resource: r, ExposeAsEnv: fmt.Sprintf("SHARED_%d", n)}); err != nil {
					return err
				}
			}
			key, err := s.CreateResourceKey(ctx, operator, r, nil)
			d.agents[i] = reveals.Agent{Resource: r, Key: key.Key}
			return err
		})
	}
	return group.Wait()
}

func someValue(i int) api.Value {
	return api.NewValue(fmt.Appendf(nil, "a-value-of-forty-characters-as-keys-%05d", i))
}

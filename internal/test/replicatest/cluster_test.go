package replicatest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// replicas is the number of vaults.
const replicas = 3

// patience is far longer than any step takes.
const patience = time.Minute

// limits of the vaults that tests don't reach.
const limits = "key_requests=1e6,key_burst=1e6,tenant_requests=1e6,tenant_burst=1e6,requests=1e6,tenant_writes=1e6,writes=1e6,tenant_events=1e6,events=1e6"

// config configures a cluster.
type config struct {
	Program  string   // path of miosa-vault
	Settings []string // of the database server
	Options  string   // of the vaults' connections, as in the database's URL, such as "synchronous_commit=off"
	Standby  bool     // also start a standby, which has what the database has committed
	Flags    []string // of the vaults
}

// cluster is a running database with vaults. Its methods are called by one goroutine.
type cluster struct {
	Primary *postgrestest.Server
	Standby *postgrestest.Server // nil: none
	Vaults  [replicas]*vault

	config  config
	dir     string
	primary int // index of the links to Primary; the other one is the standby's
}

// startCluster starts a cluster. It ends with the test.
func startCluster(t *testing.T, c config) *cluster {
	t.Helper()
	cluster := &cluster{config: c, dir: t.TempDir(), Primary: postgrestest.New(t, c.Settings...)}
	servers := []string{cluster.Primary.Addr()}
	if c.Standby {
		cluster.Standby = cluster.Primary.Standby(t)
		servers = append(servers, cluster.Standby.Addr())
	}
	if out, err := exec.CommandContext(t.Context(), c.Program, "keys", "root", "--out", cluster.rootKey()).CombinedOutput(); err != nil {
		t.Fatalf("keys root: %v\n%s", err, out)
	}
	for i := range cluster.Vaults {
		v, err := cluster.newVault(i, servers)
		if err != nil {
			t.Fatal(err)
		}
		cluster.Vaults[i] = v
		t.Cleanup(func() {
			if v.Kill(); t.Failed() {
				t.Logf("the end of the log of vault %d:\n%s", i, v.Log())
			}
			for _, l := range v.Links {
				l.close()
			}
		})
		if err := v.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return cluster
}

func (c *cluster) newVault(i int, servers []string) (*vault, error) {
	v := &vault{program: c.config.Program, dir: filepath.Join(c.dir, strconv.Itoa(i))}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		return nil, err
	}
	var addresses []string
	for _, to := range servers {
		l, err := newLink(to)
		if err != nil {
			return nil, err
		}
		v.Links = append(v.Links, l)
		addresses = append(addresses, l.Addr())
	}
	url := c.Primary.URL(addresses...) + "&target_session_attrs=read-write"
	if c.config.Options != "" {
		url += "&" + c.config.Options
	}
	file := filepath.Join(v.dir, "database.url")
	v.args = append([]string{"--data-dir", filepath.Join(v.dir, "data"), "--root-key-file", c.rootKey(), "--database-file", file, "--limit", limits}, c.config.Flags...)
	return v, os.WriteFile(file, []byte(url+"\n"), 0o600)
}

func (c *cluster) rootKey() string { return filepath.Join(c.dir, "root.key") }

// Key returns a new key of a tenant, which is created unless it exists.
func (c *cluster) Key(t *testing.T, tenant string) api.Key {
	t.Helper()
	v := c.Vaults[0]
	cmd := exec.CommandContext(t.Context(), c.config.Program, append([]string{"keys", "create", "--tenant", tenant}, v.args[:6]...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("keys create: %v", err)
	}
	key, err := api.ParseKey(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Failover kills the database server and lets the standby take over. The killed server never serves again: it may have
// committed what the standby doesn't have, and nobody was told about.
func (c *cluster) Failover(ctx context.Context) error {
	if err := c.Primary.Kill(); err != nil {
		return err
	}
	if err := c.Standby.Promote(ctx); err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	c.Primary, c.Standby, c.primary = c.Standby, nil, 1-c.primary
	return nil
}

// AddStandby starts another standby after Failover.
func (c *cluster) AddStandby(t *testing.T) error {
	t.Helper()
	c.Standby = c.Primary.Standby(t)
	for _, v := range c.Vaults {
		if err := v.Links[1-c.primary].point(c.Standby.Addr()); err != nil {
			return err
		}
	}
	return nil
}

package reveals_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/reveals"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// Agents get each rotation, and wait again after a restart of their vault; some of them connect to a vault that isn't there first.
func TestAgentsWait(t *testing.T) {
	const agents, patience = 20, 30 * time.Second
	cert, certFile, _ := vaulttest.Certificate(t)
	s := vaulttest.Start(t, vaulttest.WithTLS(cert))
	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c := reveals.Config{Vaults: []string{"127.0.0.1:1", s.Addr()}, TLS: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}}
	secret := s.PutSecret(t, map[string]any{"name": "shared", "value": "value 1"})
	for i := range agents {
		r := api.Resource{Type: api.Sandbox, ID: fmt.Sprintf("sb_%d", i)}
		if status, text := s.Do(t, s.TenantKey, http.MethodPost, "/egress/bindings", api.NewBinding{SecretID: secret, Resource: r, ExposeAsEnv: "SHARED"}); status != http.StatusCreated {
			t.Fatalf("status %d: %s", status, text)
		}
		key := s.ResourceKey(t, r)
		c.Agents = append(c.Agents, reveals.Agent{Resource: r, Key: key.Reveal()})
	}
	var mu sync.Mutex
	values := make([]string, agents)
	c.Opened = func(agent int, set api.Snapshot) {
		mu.Lock()
		defer mu.Unlock()
		values[agent] = set.Bound[0].Value.Reveal()
	}
	g, err := reveals.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { g.Run(ctx); close(ended) }()
	all := func(value string) {
		t.Helper()
		poll.Until(t, patience, "all agents have "+value+" and wait", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, v := range values {
				if v != value {
					return false
				}
			}
			return g.Counts().Waiting == agents
		})
	}
	all("value 1")
	s.Rotate(t, secret, "value 2")
	all("value 2")
	s.Restart(t)
	s.Rotate(t, secret, "value 3")
	all("value 3")
	stop()
	<-ended
	if n := g.Counts(); n.Holding != agents || n.Opened < 3*agents || n.Backwards+n.Unopened != 0 || n.Waiting != 0 {
		t.Errorf("counts %+v", n)
	}
}

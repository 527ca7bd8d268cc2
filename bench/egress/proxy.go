package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/ca"
	"github.com/Miosa-osa/miosa-env/egress/proxy"
)

// serveCommand makes this program a proxy.
const serveCommand = "serve"

const (
	host        = "127.0.0.1"
	placeholder = "miosa-tok-0123456789abcdefghijklmnop"
	value       = "the-value-of-a-benchmark-0123456789"
	bindings    = 20
)

// The proxies.
const (
	floor     = "floor"     // this program without rules for values; the policy is about paths, so that it decrypts
	broker    = "broker"    // this program with rules
	unchanged = "spliced"   // this program, which passes connections to the host on unchanged
	goproxy   = "goproxy"   // bench/goproxy
	mitmproxy = "mitmproxy" // Debian's
	direct    = "direct"    // none
)

// setup is what a proxy reads from standard input.
type setup struct {
	Name               string
	Port               int    // of the server
	Roots              []byte // that it trusts
	Placeholder, Value string
}

// ready is what a proxy prints when it accepts connections.
type ready struct {
	Address string
	CA      []byte
}

// discard is a Recorder that drops all events.
type discard struct{}

// Record implements proxy.Recorder.
func (discard) Record(api.TrafficEvent) {}

// serve is a proxy until standard input ends.
func serve(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	in := json.NewDecoder(stdin)
	var c setup
	if err := in.Decode(&c); err != nil {
		return err
	}
	go func() { _ = in.Decode(&struct{}{}); stop() }()
	set, err := proxy.NewSet(c.snapshot())
	if err != nil {
		return err
	}
	authority, err := ca.New("sandbox:bench", nil)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.Roots)
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", host+":0")
	if err != nil {
		return err
	}
	s := proxy.New(proxy.Config{
		Resource: api.Resource{Type: api.Sandbox, ID: "bench"}, Authority: authority, Roots: roots,
		Set: func() *proxy.Set { return set }, Recorder: discard{}, Log: zerolog.Nop(),
	})
	if err := json.NewEncoder(stdout).Encode(ready{l.Addr().String(), authority.PEM()}); err != nil {
		return err
	}
	return s.Run(ctx, proxy.Listener{Listener: l})
}

// snapshot is the set of a resource with some bindings, one of which is used.
func (c setup) snapshot() api.Snapshot {
	policy := api.DefaultPolicy()
	s := api.Snapshot{Policy: &policy}
	if c.Name != broker {
		entry := api.NetworkRule{ID: "r_1", Host: host, Effect: api.EffectAllow}
		if c.Name == floor {
			entry.PathGlob = "/**"
		}
		policy.Rules = []api.NetworkRule{entry}
		return s
	}
	for i := range bindings {
		of, to := fmt.Sprintf("%s%02d", placeholder, i), fmt.Sprintf("host-%d.example.com", i)
		if i == 0 {
			of, to = placeholder, host
		}
		s.Bound = append(s.Bound, api.Bound{
			Label: api.Label{ID: fmt.Sprintf("b_%d", i), ExposeAsEnv: fmt.Sprintf("TOKEN_%d", i), Egress: &api.Egress{
				Placeholder: of, Rules: []api.EgressRule{{Hosts: []string{to}, Ports: []int{c.Port}}},
			}},
			Value: api.NewValue(fmt.Appendf(nil, "%s%02d", value, i)),
		})
	}
	return s
}

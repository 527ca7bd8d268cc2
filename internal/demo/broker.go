package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/devvault"
)

const (
	used         = "API_KEY" // the variable of the command that has only a placeholder
	startBetween = 50 * time.Millisecond
)

// showBroker starts a server and a broker, and runs a command that sends the server a placeholder. dir is for files.
func showBroker(ctx context.Context, s screen, bin string, vault *devvault.Vault, tenant *fetch.Client, dir string) error {
	server, root, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = server.close() }()
	at := server.address()
	value := "sk_example_" + rand.Text() // a constant would be in the program of the command
	if _, _, err := tenant.PutSecret(ctx, api.NewSecret{
		Name: "api", Value: api.NewValue([]byte(value)), Resource: devvault.Sandbox, ExposeAsEnv: used, Delivery: api.DeliverPlaceholder,
		Egress: &api.EgressRule{Hosts: []string{at.IP.String()}, Ports: []int{at.Port}},
	}); err != nil {
		return err
	}
	broker, proxy, err := startBroker(ctx, bin, vault, tenant, dir, root)
	if err != nil {
		return err
	}
	defer func() { _ = broker.Stop(0) }()

	self, err := os.Executable()
	if err != nil {
		return err
	}
	target := "https://" + at.String()
	s.say("%s", s.colour(cyan, fmt.Sprintf("$ miosa-env run --egress %s -- client %s", proxy, target)))
	env := append(vault.Environ("MIOSA_BASE_URL", "MIOSA_API_KEY", "MIOSA_SANDBOX_ID"), "MIOSA_SOCKET="+filepath.Join(dir, "agent.sock"))
	command, err := devvault.Run(ctx, env, os.Stderr, filepath.Join(bin, "miosa-env"), "run", "--egress", proxy, "--only", used, "--", self, "client", target)
	if err != nil {
		return err
	}
	defer func() { _ = command.Stop(0) }()
	line, err := command.Line(ctx)
	if err != nil {
		return err
	}
	var pid int
	var sent, received string
	if _, err := fmt.Sscanf(line, "%d %s %q", &pid, &sent, &received); err != nil {
		return fmt.Errorf("the command printed %q", line)
	}
	got := server.last()
	if got != "Bearer "+value || strings.Contains(line, value) {
		return fmt.Errorf("the server received %q, and the command %q", got, line)
	}
	s.say("the command sends     Authorization: Bearer %s", sent)
	s.say("the server receives   Authorization: %s", s.colour(green, got))
	s.say("the command receives  %s", received)
	if err := s.showMemory(pid, sent, value); err != nil {
		return err
	}
	s.say("(Here the broker runs beside the command. It belongs outside of the sandbox.)")
	if err := command.Stop(0); err != nil {
		return err
	}
	return broker.Stop(0)
}

// showMemory searches the memory of the command.
func (s screen) showMemory(pid int, placeholder, value string) error {
	found, err := searchMemory(pid, placeholder, value)
	switch {
	case err != nil:
		s.say("its memory can't be searched here: %v", err)
	case !found[0]:
		return fmt.Errorf("the placeholder isn't found in the memory of process %d", pid)
	case found[1]:
		return fmt.Errorf("the value is in the memory of process %d", pid)
	default:
		s.say("its memory has        the placeholder, and %s", s.colour(green, "not the value"))
	}
	return nil
}

// startBroker starts a broker that trusts the servers of root, and returns the URL of its proxy.
func startBroker(ctx context.Context, bin string, vault *devvault.Vault, tenant *fetch.Client, dir string, root []byte) (broker *devvault.Program, proxy string, err error) {
	key, err := tenant.IssueKey(ctx, api.KeyRequest{Broker: true, Restrictions: api.Restrictions{Resources: []string{devvault.Sandbox.String()}}})
	if err != nil {
		return nil, "", err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address := l.Addr().String()
	_ = l.Close() // for the broker
	config := fmt.Sprintf("key_file = %q\n[[listener]]\naddress = %q\nsandbox_id = %q\nupstream_ca_file = %q\n",
		filepath.Join(dir, "key"), address, devvault.Sandbox.ID, filepath.Join(dir, "server.pem"))
	for name, text := range map[string]string{"key": key.Key, "egress.toml": config, "server.pem": string(root)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, "", err
		}
	}
	env := append(vault.Environ("MIOSA_BASE_URL"), "MIOSA_LOG_LEVEL=warn", "MIOSA_EGRESS_SOCKET="+filepath.Join(dir, "egress.sock"))
	program := filepath.Join(bin, "miosa-egress")
	broker, err = devvault.Run(ctx, env, os.Stderr, program, "serve", "--config", filepath.Join(dir, "egress.toml"))
	if err != nil {
		return nil, "", err
	}
	for {
		status := exec.CommandContext(ctx, program, "status")
		status.Env = env
		if status.Run() == nil {
			return broker, "http://" + address, nil
		}
		if err := delay.Sleep(ctx, startBetween); err != nil {
			_ = broker.Stop(0) // or it ended, and has said why
			return nil, "", fmt.Errorf("the broker isn't ready: %w", context.Cause(ctx))
		}
	}
}

// server answers each request with its Authorization header.
type server struct {
	listener net.Listener
	http     *http.Server
	received chan string
}

// startServer starts a server on loopback, and returns the certificate of its authority.
func startServer(ctx context.Context) (*server, []byte, error) {
	root, certificate, err := devvault.NewCertificates()
	if err != nil {
		return nil, nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	s := &server{listener: l, received: make(chan string, 1)}
	s.http = &http.Server{
		ReadHeaderTimeout: limit, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got := r.Header.Get("Authorization")
			select {
			case s.received <- got:
			default:
			}
			fmt.Fprintf(w, "you sent: %s", got) //nolint:gosec // to a client that isn't a browser
		}),
	}
	go func() { _ = s.http.ServeTLS(l, "", "") }()
	return s, root, nil
}

func (s *server) address() *net.TCPAddr { return s.listener.Addr().(*net.TCPAddr) }

// last returns what the server has received; "" if that is nothing.
func (s *server) last() string {
	select {
	case got := <-s.received:
		return got
	default:
		return ""
	}
}

func (s *server) close() error { return s.http.Close() }

// client is the command: it sends its key to a server, and prints its process id, the key and the answer. Then it stays until it
// is stopped.
func client(ctx context.Context, target string, out io.Writer) error {
	// Go uses no proxy for loopback.
	proxy, err := url.Parse(os.Getenv("HTTPS_PROXY"))
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil) //nolint:gosec // its own argument
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+os.Getenv(used))
	res, err := (&http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}).Do(r) //nolint:gosec // its own argument
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d %s %q\n", os.Getpid(), os.Getenv(used), answer)
	<-ctx.Done()
	return nil
}

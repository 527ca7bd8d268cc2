package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/task"
)

// brokerStatus is what the socket serves at /status, and `miosa-egress status --json` prints. It has no value, no placeholder and
// no key.
type brokerStatus struct {
	Vault     string           `json:"vault"`
	Resources []resourceStatus `json:"resources"`
	Reports   reportStatus     `json:"reports"`
	StartedAt time.Time        `json:"started_at"`
	PID       int              `json:"pid"`
	Version   string           `json:"version"`
}

// reportStatus is the state of the reports for the vault's audit.
type reportStatus struct {
	Waiting   int    `json:"waiting"`              // requests that aren't reported yet
	LastError string `json:"last_error,omitempty"` // of the last report; empty: the vault took it
}

type resourceStatus struct {
	api.Resource
	State       agent.State     `json:"state"`
	Refusing    string          `json:"refusing,omitempty"` // why all requests are refused; empty: they aren't
	Etag        string          `json:"etag,omitempty"`
	Bindings    []bindingStatus `json:"bindings"`
	Expired     []string        `json:"expired,omitempty"`     // variables whose secrets have expired: they have no binding any more
	ConfirmedAt time.Time       `json:"confirmed_at,omitzero"` // when the vault last confirmed the set
	Connections int             `json:"connections"`           // of clients
	Requests    int64           `json:"requests"`              // since the start, decrypted or not
	Swapped     int64           `json:"swapped"`               // of these, with at least one value
	Refused     int64           `json:"refused"`
	Lost        uint64          `json:"lost"`                 // requests that the vault's audit will not have: it refused them, or too many waited
	LastError   string          `json:"last_error,omitempty"` // of a request to the vault
	LastErrorAt time.Time       `json:"last_error_at,omitzero"`
	LastHint    string          `json:"last_hint,omitempty"`
}

type bindingStatus struct {
	Name    string     `json:"name"` // the environment variable
	Secret  string     `json:"secret_name"`
	Version int64      `json:"version"`
	Hosts   []string   `json:"hosts"`             // to which a value may be sent: none without a rule
	Ports   []int      `json:"ports,omitempty"`   // of these; default: 443
	Methods []string   `json:"methods,omitempty"` // default: all
	Paths   []string   `json:"paths,omitempty"`   // default: all
	Expires *time.Time `json:"expires_at,omitempty"`
}

// status returns the status of the broker.
func (b *broker) status() brokerStatus {
	s := brokerStatus{StartedAt: b.started, PID: os.Getpid(), Version: version, Resources: []resourceStatus{}}
	s.Reports.Waiting, _ = b.reports.Waiting()
	if err := b.reports.Failure(); err != nil {
		s.Reports.LastError = err.Error()
	}
	for _, r := range b.list() {
		set, status := r.engine.Snapshot()
		s.Vault = status.Vault
		counts := b.metrics.counts(r.Resource)
		one := resourceStatus{
			Resource: r.Resource, State: status.State, Refusing: r.set.Load().Absent(), Etag: status.Etag, Bindings: []bindingStatus{}, Expired: status.Expired, ConfirmedAt: status.ConfirmedAt,
			Connections: r.server.Connections(), Requests: counts.requests, Swapped: counts.swapped, Refused: counts.refused, Lost: b.reports.Lost(r.Resource),
			LastError: status.LastError, LastErrorAt: status.LastErrorAt, LastHint: status.LastHint,
		}
		for _, bound := range set.Bound {
			rule := effectiveRule(bound.Egress)
			one.Bindings = append(one.Bindings, bindingStatus{
				Name: bound.ExposeAsEnv, Secret: bound.SecretName, Version: bound.Version, Hosts: append([]string{}, rule.Hosts...),
				Ports: rule.Ports, Methods: rule.Methods, Paths: rule.Paths, Expires: bound.ExpiresAt,
			})
		}
		s.Resources = append(s.Resources, one)
	}
	return s
}

// effectiveRule returns the last rule, which is the binding's if it has one, with what it leaves out from the secret's, which it narrows.
func effectiveRule(e *api.Egress) (r api.EgressRule) {
	if e == nil {
		return r
	}
	for i, narrow := range e.Rules {
		wide := r
		r = narrow
		if i == 0 {
			continue
		}
		if len(r.Ports) == 0 {
			r.Ports = wide.Ports
		}
		if len(r.Paths) == 0 {
			r.Paths = wide.Paths
		}
		if len(r.Methods) == 0 {
			r.Methods = wide.Methods
		} else if len(wide.Methods) > 0 {
			r.Methods = slices.DeleteFunc(slices.Clone(r.Methods), func(m string) bool { return !slices.Contains(wide.Methods, m) })
		}
	}
	return r
}

// statusSocket serves the commands status and ca on a Unix socket.
type statusSocket struct {
	*listener.Listener
	task *task.Task
}

func (b *broker) listenStatus(s *settings) (*statusSocket, error) {
	l, err := listener.Listen(s.Socket, 0o600) // connecting takes the permission to write
	if err != nil {
		return nil, s.Problem("socket", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(b.status())
	})
	mux.HandleFunc("GET /ca/{resource}", func(w http.ResponseWriter, r *http.Request) {
		id, err := api.ParseResource(r.PathValue("resource"))
		found := b.resource(id)
		if err != nil || found == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(found.authority.PEM())
	})
	return &statusSocket{l, serveHTTP(unixListener{l}, mux)}, nil
}

// serveHTTP serves requests of this machine.
func serveHTTP(l net.Listener, h http.Handler) *task.Task {
	return task.Start(context.Background(), func(ctx context.Context) {
		server := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		_ = server.Serve(l)
	})
}

func (s *statusSocket) restore(log zerolog.Logger) { listener.Restore(s.Listener, log) }

func (s *statusSocket) close() {
	if s != nil {
		s.task.Close()
		_ = s.Listener.Close()
	}
}

// askBroker asks the broker at a socket, and returns its answer.
func askBroker(ctx context.Context, socket, path string) (status int, text []byte, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://broker"+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		why := fmt.Errorf("no broker is running at %s", socket)
		if asked, ok := errors.AsType[*url.Error](err); ok {
			err = asked.Err
		}
		if dialed, ok := errors.AsType[*net.OpError](err); ok {
			err = dialed.Err
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			why = fmt.Errorf("the broker at %s can't be asked: %w", socket, err)
		}
		hint := "start miosa-egress serve, or name its socket with --socket"
		if errors.Is(err, fs.ErrPermission) {
			hint = "root and the user that the broker runs as may use its socket: become one of them, with sudo"
		}
		return 0, nil, cli.WithHint(why, hint)
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(io.LimitReader(res.Body, 64<<20))
	return res.StatusCode, text, err
}

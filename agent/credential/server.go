// Package credential serves values to systemd units that load them with LoadCredential=.
package credential

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/agent/listener"
	"github.com/Miosa-osa/miosa-env/agent/peer"
	"github.com/Miosa-osa/miosa-env/api"
)

const (
	firstWait    = 3 * time.Second // for the first set
	writeTimeout = time.Second     // for systemd to read the value

	// maxValue is the longest credential that systemd accepts, in bytes. The unit fails if it gets a longer one, which is
	// how a credential is denied: nothing at all would be an empty credential.
	maxValue = 1 << 20
)

// Config configures a Server.
type Config struct {
	Path   string // see Path
	Engine Engine
	Units  []config.Unit
	Log    zerolog.Logger
}

// Engine is what a Server needs of an agent.Engine.
type Engine interface {
	// Wait returns when there is a set that etag doesn't name, or the vault refuses.
	Wait(ctx context.Context, etag string) (api.Snapshot, error)
}

// Path returns the path of the credentials' socket, next to the agent's socket.
func Path(socket string) string { return filepath.Join(filepath.Dir(socket), "credentials.sock") }

// Server listens on a socket that units name in LoadCredential=. A unit gets the value of the variable with the
// credential's name, if the configuration allows it.
// Source: systemd.exec(5), "LoadCredential=".
type Server struct {
	*listener.Listener
	conf     Config
	units    atomic.Pointer[[]config.Unit]
	identify func(*net.UnixConn) (peer.Peer, string, error) // returns the client and the unit it runs in
	tasks    sync.WaitGroup                                 // of Serve
}

// Listen listens on the path of c. Errors: those of listener.Listen.
func Listen(c Config) (*Server, error) {
	l, err := listener.Listen(c.Path, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Server{Listener: l, conf: c, identify: identify}
	s.SetUnits(c.Units)
	return s, nil
}

// SetUnits changes which units get which variables. It applies to new connections.
func (s *Server) SetUnits(units []config.Unit) { s.units.Store(&units) }

// Serve answers until ctx ends. Then it stops listening, denies pending requests, and returns when everything it started
// has ended.
func (s *Server) Serve(ctx context.Context) {
	defer s.tasks.Wait()
	listener.Serve(ctx, s, s.conf.Log, func(c net.Conn) {
		s.tasks.Go(func() { s.serve(ctx, c.(*net.UnixConn)) })
	})
}

// serve sends one credential, or denies it.
func (s *Server) serve(ctx context.Context, c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	unit, name := "", ""
	p, actual, err := s.identify(c)
	if err == nil {
		unit, name, err = s.authorize(p, actual, c.RemoteAddr().String())
	}
	if err == nil {
		err = s.send(ctx, c, name)
	}
	if err != nil {
		s.conf.Log.Warn().Err(err).Str("unit", unit).Str("name", name).Int32("pid", p.PID).Msg("credential denied: its unit will fail")
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = c.Write(make([]byte, maxValue+1)) // too long, whatever was sent before
		return
	}
	s.conf.Log.Info().Str("unit", unit).Str("name", name).Int32("pid", p.PID).Msg("credential sent")
}

// identify returns the client of a connection. If it is root's, as systemd is, it also returns the unit it runs in.
func identify(c *net.UnixConn) (p peer.Peer, unit string, err error) {
	if p, err = peer.Of(c); err == nil && p.UID == 0 {
		unit, err = peer.Unit(p, c)
	}
	return p, unit, err
}

// authorize returns the unit and the credential that address names, and an error if this client may not have it. Any
// process can connect from such an address, so the unit must be the one that the client runs in.
func (s *Server) authorize(p peer.Peer, actual, address string) (unit, name string, err error) {
	unit, name, ok := parseAddress(address)
	switch {
	case p.UID != 0:
		return unit, name, fmt.Errorf("uid %d isn't systemd", p.UID)
	case !ok:
		return "", "", errors.New("the client isn't systemd starting a unit")
	case actual != unit:
		return unit, name, errors.New("the client doesn't run in this unit")
	}
	for _, u := range *s.units.Load() {
		if u.Name != unit && u.Name != template(unit) {
			continue
		}
		for _, pattern := range u.Only {
			if ok, _ := path.Match(pattern, name); ok || pattern == name {
				return unit, name, nil
			}
		}
		return unit, name, errors.New("this unit may not have it: its only doesn't name it")
	}
	return unit, name, errors.New("this unit may have nothing: there is no [[unit]] for it")
}

// send sends a value. It waits for the first set.
func (s *Server) send(ctx context.Context, c *net.UnixConn, name string) error {
	waiting, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	set, err := s.conf.Engine.Wait(waiting, "")
	switch {
	case ctx.Err() != nil:
		return errors.New("the agent is stopping")
	case errors.Is(err, context.DeadlineExceeded):
		return agent.ErrNoSet
	case api.RefusesKey(err):
		return errors.New("the vault refuses the agent's key: it was revoked, or the resource is gone")
	case err != nil:
		return err
	}
	for _, b := range set.Bound {
		if b.ExposeAsEnv != name {
			continue
		}
		if b.Delivery == api.DeliverPlatform {
			return errors.New("the platform sets it itself: there is no value to give")
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		b.Value.Use(func(value []byte) {
			switch {
			case len(value) == 0:
				err = errors.New("its value is empty, or was taken away")
			case len(value) > maxValue:
				err = errors.New("its value is longer than 1 MiB")
			default:
				_, err = c.Write(value)
			}
		})
		return err
	}
	return errors.New("no such variable is bound")
}

// parseAddress parses the address that systemd connects from: NUL, a random number, "/unit/", the unit, a slash and the
// name of the credential.
func parseAddress(address string) (unit, name string, ok bool) {
	random, rest, ok := strings.Cut(address, "/unit/")
	unit, name, named := strings.Cut(rest, "/")
	if !ok || !named || !strings.HasPrefix(random, "@") || unit == "" || name == "" || strings.Contains(name, "/") {
		return "", "", false
	}
	return unit, name, true
}

// template returns the template of an instance: app@.service for app@1.service.
func template(unit string) string {
	before, rest, ok := strings.Cut(unit, "@")
	if dot := strings.LastIndexByte(rest, '.'); ok && dot >= 0 {
		return before + "@" + rest[dot:]
	}
	return unit
}

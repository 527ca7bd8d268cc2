package agent

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

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/delay"
)

const (
	credentialWait = 3 * time.Second // for a set, where there is none yet
	credentialTime = time.Second     // to take the answer: with the wait, within 5 seconds in all

	// largestCredential is what systemd takes for a unit, in bytes. Whatever is longer makes it fail: that is how
	// a credential is denied, since an answer of nothing would be one that is empty.
	largestCredential = 1 << 20
)

// CredentialsConfig says which units get what where.
type CredentialsConfig struct {
	Path  string // see CredentialsPath
	Agent Served
	Units []config.Unit
	Log   zerolog.Logger
}

// CredentialsPath is where credentials are beside an agent's socket.
func CredentialsPath(socket string) string {
	return filepath.Join(filepath.Dir(socket), "credentials.sock")
}

// Credentials is a socket for LoadCredential= of systemd's units: a unit gets the value of the variable that the
// credential has the name of, if it may have that.
// Source: systemd.exec(5), "LoadCredential=".
type Credentials struct {
	conf     CredentialsConfig
	listener *listener
	units    atomic.Pointer[[]config.Unit]
	identify func(*net.UnixConn) (peer, string, error) // who connected, and the unit it runs in
	tasks    sync.WaitGroup                            // of Serve
}

// ListenCredentials listens on the path.
// Errors: those of Listen.
func ListenCredentials(c CredentialsConfig) (*Credentials, error) {
	l, err := newListener(c.Path, true)
	if err != nil {
		return nil, err
	}
	s := &Credentials{conf: c, listener: l, identify: unitOfPeer}
	s.SetUnits(c.Units)
	return s, nil
}

// SetUnits changes who gets what, from the next connection on.
func (s *Credentials) SetUnits(units []config.Unit) { s.units.Store(&units) }

// Path is where it listens.
func (s *Credentials) Path() string { return s.listener.path }

// Restore is Socket.Restore for this socket.
func (s *Credentials) Restore() (restored bool, err error) { return s.listener.restore() }

// Close stops listening, if Serve wasn't called. After Serve it does nothing.
func (s *Credentials) Close() { s.listener.close() }

// Serve answers until ctx ends. It then stops listening, denies pending requests, and returns when everything it started
// has ended.
func (s *Credentials) Serve(ctx context.Context) error {
	defer s.listener.close()
	stop := context.AfterFunc(ctx, s.listener.close)
	defer stop()
	defer s.tasks.Wait()
	for {
		c, err := s.listener.accept()
		switch {
		case err == nil:
			s.tasks.Go(func() { s.serve(ctx, c) })
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		default: // no file descriptor left, say
			s.conf.Log.Error().Err(err).Msg("the socket takes no connections")
			if delay.Sleep(ctx, acceptPause) != nil {
				return nil
			}
		}
	}
}

// serve gives one credential, or denies it.
func (s *Credentials) serve(ctx context.Context, c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	p, runsIn, err := s.identify(c)
	unit, name := "", ""
	if err == nil {
		unit, name, err = s.judge(p, runsIn, c.RemoteAddr().String())
	}
	if err == nil {
		err = s.give(ctx, c, name)
	}
	if err != nil {
		s.conf.Log.Warn().Err(err).Str("unit", unit).Str("name", name).Int32("pid", p.pid).Msg("credential denied: its unit fails")
		deny(c)
		return
	}
	s.conf.Log.Info().Str("unit", unit).Str("name", name).Int32("pid", p.pid).Msg("credential given")
}

// judge tells which unit is there and what it wants, by the address that systemd connects from, which anybody could
// take, and the kernel's word. Errors: why it gets nothing.
func (s *Credentials) judge(p peer, runsIn, address string) (unit, name string, err error) {
	unit, name, ok := wanted(address)
	switch {
	case p.uid != 0:
		return unit, name, fmt.Errorf("uid %d isn't systemd", p.uid)
	case !ok:
		return "", "", errors.New("the client isn't systemd starting a unit")
	case runsIn != unit:
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

// give sends a value, waiting for the first set if it must.
func (s *Credentials) give(ctx context.Context, c *net.UnixConn, name string) error {
	waiting, cancel := context.WithTimeout(ctx, credentialWait)
	defer cancel()
	set, err := s.conf.Agent.Wait(waiting, "")
	switch {
	case ctx.Err() != nil:
		return errStopping
	case errors.Is(err, context.DeadlineExceeded):
		return errStarting
	case errors.Is(err, api.ErrUnauthorized), errors.Is(err, api.ErrDenied):
		return errRevoked
	case err != nil:
		return err
	}
	for i, b := range set.Bound {
		if b.ExposeAsEnv != name {
			continue
		}
		n := b.Value.Len()
		switch {
		case b.Delivery == api.DeliverPlatform:
			return errors.New("the platform sets it itself: there is no value to give")
		case n == 0:
			return errors.New("its value is empty, or was taken away")
		case n > largestCredential:
			return errors.New("its value is longer than 1 MiB")
		}
		_ = c.SetWriteDeadline(time.Now().Add(credentialTime))
		return newGather(nil, set.Bound[i:i+1], []int{n}).send(c)
	}
	return errors.New("no such variable is bound")
}

// deny sends more than systemd takes, whatever was sent before.
func deny(c *net.UnixConn) {
	_ = c.SetWriteDeadline(time.Now().Add(credentialTime))
	_, _ = c.Write(make([]byte, largestCredential+1))
}

// wanted takes apart the address that systemd connects from: NUL, a random number, "/unit/", the unit, a slash and the
// credential's name.
func wanted(address string) (unit, name string, ok bool) {
	random, rest, ok := strings.Cut(address, "/unit/")
	unit, name, two := strings.Cut(rest, "/")
	if !ok || !two || !strings.HasPrefix(random, "@") || unit == "" || name == "" || strings.Contains(name, "/") {
		return "", "", false
	}
	return unit, name, true
}

// template is what an instance is one of: app@.service of app@1.service.
func template(unit string) string {
	before, rest, ok := strings.Cut(unit, "@")
	if dot := strings.LastIndexByte(rest, '.'); ok && dot >= 0 {
		return before + "@" + rest[dot:]
	}
	return unit
}

// unitOf is the unit of systemd's whose cgroup it is, by the text of /proc/PID/cgroup; empty if it is none's. It is the
// first below the slices: what a unit's processes make below that is no unit's.
func unitOf(cgroups string) string {
	at := ""
	for line := range strings.Lines(cgroups) {
		line = strings.TrimSuffix(line, "\n")
		if group, ok := strings.CutPrefix(line, "0::"); ok && group != "/" {
			at = group
			break
		}
		if _, group, ok := strings.Cut(line, ":name=systemd:"); ok {
			at = group
		}
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(at, "/"), "/") {
		if !strings.HasSuffix(part, ".slice") {
			return strings.TrimPrefix(part, "_") // which keeps it apart from the kernel's own files
		}
	}
	return ""
}

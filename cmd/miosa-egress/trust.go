package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/egress/config"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/trusted"
)

// serviceUser is the user as which the unit of the packages runs the broker.
const serviceUser = "miosa-egress"

// checkKeys reports the files with keys that another user can change, or put another in their place. With forService, the user of the
// service is no other: root checks what that is to serve.
func (s *settings) checkKeys(forService bool) {
	if path := s.key.Path(); path != "" {
		s.blame("key_file", untrusted("key file "+path, path, forService))
	}
	for i := range s.Listeners {
		if l := &s.Listeners[i]; l.CAKeyFile != "" {
			if err := untrusted("ca_key_file: "+l.CAKeyFile, l.CAKeyFile, forService); err != nil {
				s.report(l.Problem("ca_key_file", err))
			}
		}
	}
}

// checkWritten reports the files that the broker would write a certificate to although it reads something else from them, or another
// resource has them too, and a listener at the broker's own socket.
func (s *settings) checkWritten() {
	read := map[string]string{} // what it is, by path, of which those in the file are absolute
	for path, what := range map[string]string{s.file: "the configuration", s.key.Path(): "the broker key", s.CAFile: "the ca_file of the vault"} {
		read[cli.AbsolutePath(path)] = what
	}
	keys, certificates := map[string]api.Resource{}, map[string]api.Resource{}
	// only reports a file of a field that another resource has.
	only := func(l *config.Listener, field, path string, of map[string]api.Resource) {
		if other, ok := of[path]; ok && other != l.Resource() {
			s.report(l.Problem(field, cli.WithHint(fmt.Errorf("%s: %s is that of %s too", field, path, other), "name a file for each resource")))
			return
		}
		of[path] = l.Resource()
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if l.Address == "unix:"+s.Socket {
			s.report(l.Problem("address", cli.WithHint(errors.New("address: status and ca ask the broker at this socket"), "use another path")))
		}
		if l.Upstream != "" {
			read[l.Upstream] = "an upstream_ca_file"
		}
		if l.CAKeyFile != "" {
			only(l, "ca_key_file", l.CAKeyFile, keys)
			read[l.CAKeyFile] = "a ca_key_file"
		}
	}
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if l.CAFile == "" {
			continue
		}
		if what := read[l.CAFile]; what != "" {
			s.report(l.Problem("ca_file", cli.WithHint(fmt.Errorf("ca_file: %s is %s too, which the certificate would replace", l.CAFile, what), "name another file")))
			continue
		}
		only(l, "ca_file", l.CAFile, certificates)
	}
}

// untrusted returns an error with a hint if another user can change a file, or put another in its place.
func untrusted(what, path string, forService bool) error {
	unsafe, ok := errors.AsType[*trusted.Error](trusted.Check(path))
	if !ok || forService && unsafe.UID >= 0 && os.Geteuid() == 0 && unsafe.UID == serviceUID() {
		return nil
	}
	fix := unsafe.Fix()
	if unsafe.UID >= 0 {
		fix += ", or run this as the user that the broker runs as"
	}
	return cli.WithHint(fmt.Errorf("%s: another user could change it or put another in its place", what), fix)
}

// serviceUID returns the id of the service's user, or -1 if there is none.
func serviceUID() int {
	u, err := user.Lookup(serviceUser)
	if err != nil {
		return -1
	}
	id, err := strconv.Atoi(u.Uid)
	if err != nil {
		return -1
	}
	return id
}

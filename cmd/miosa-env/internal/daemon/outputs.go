package daemon

import (
	"errors"
	"io/fs"
	"reflect"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/orphan"
)

// outputs are the present outputs by path.
type outputs map[string]*agentOutput

// agentOutput is an output.Output as an engine's output.
type agentOutput struct {
	*output.Output
	conf output.Config
}

// Write writes a set. It marks errors that will be the same for another attempt.
func (o *agentOutput) Write(s api.Snapshot) error {
	err := o.Output.Write(s)
	_, refused := errors.AsType[*environ.Refused](err)
	_, absent := errors.AsType[*environ.NotProvided](err)
	_, impossible := errors.AsType[*envfile.CantCarry](err)
	if refused || absent || impossible {
		return agent.Unfitting(err)
	}
	return withDirectoryHint(err)
}

// withDirectoryHint adds to an error about a missing directory how to create it.
func withDirectoryHint(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(err, "create that directory, at each boot where it is in memory: with tmpfiles.d, or RuntimeDirectory= in systemd's unit")
	}
	return err
}

// renew returns the outputs for confs. It keeps those whose configuration stays the same.
func (now outputs) renew(confs []output.Config, orphans *orphan.Reaper, log zerolog.Logger) (outputs, error) {
	next := outputs{}
	var problems []error
	for _, conf := range confs {
		if old := now[conf.Path]; old != nil && reflect.DeepEqual(old.conf, conf) {
			next[conf.Path] = old
			continue
		}
		full := conf
		full.Orphans, full.Log = orphans, log
		made, err := output.New(full)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		next[conf.Path] = &agentOutput{made, conf}
	}
	return next, errors.Join(problems...)
}

// close ends the hooks of outputs that others don't share.
func (now outputs) close(others outputs) {
	for path, o := range now {
		if others[path] != o {
			o.Close()
		}
	}
}

// list returns the outputs in the order of their configuration.
func (now outputs) list(confs []output.Config) []agent.Output {
	var list []agent.Output
	for _, conf := range confs {
		list = append(list, now[conf.Path])
	}
	return list
}

// mend has outputs written again that another program has modified.
func (now outputs) mend(paths []string, a *agent.Engine, log zerolog.Logger) {
	for _, path := range paths {
		o := now[path]
		if o == nil {
			continue
		}
		if intact, err := o.Check(); !intact {
			log.Debug().Err(err).Str("output", path).Msg("output modified by another program")
			a.Rewrite(path)
		}
	}
}

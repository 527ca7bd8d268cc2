package daemon

import (
	"errors"
	"io/fs"
	"reflect"
	"slices"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/agent"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/envfile"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/inject/output"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// outputs are what is written now, by path.
type outputs map[string]*agentOutput

// agentOutput is an output.Output as the agent takes it.
type agentOutput struct {
	*output.Output
	conf output.Config
}

// Write marks errors that trying again doesn't change.
func (o *agentOutput) Write(s api.Snapshot) error {
	err := o.Output.Write(s)
	if _, refused := errors.AsType[*environ.Refused](err); refused {
		return agent.Unfitting(err)
	}
	if _, absent := errors.AsType[*environ.NotProvided](err); absent {
		return agent.Unfitting(err)
	}
	if _, cant := errors.AsType[*envfile.CantCarry](err); cant {
		return agent.Unfitting(err)
	}
	return placeless(err)
}

// placeless adds to an error about a directory that isn't there who could make it.
func placeless(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return cli.WithHint(err, "make that directory, at each boot where it is in memory: with tmpfiles.d, or RuntimeDirectory= in systemd's unit")
	}
	return err
}

// renew makes the outputs of confs, taking over those that stay as they are.
func (now outputs) renew(confs []output.Config, log zerolog.Logger) (outputs, error) {
	next := outputs{}
	var problems []error
	for _, conf := range confs {
		if old, there := now[conf.Path]; there && reflect.DeepEqual(old.conf, conf) {
			next[conf.Path] = old
			continue
		}
		logged := conf
		logged.Log = log
		made, err := output.New(logged)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		next[conf.Path] = &agentOutput{made, conf}
	}
	if err := errors.Join(problems...); err != nil {
		next.close(now)
		return nil, err
	}
	return next, nil
}

// close ends the hooks of those that aren't among others.
func (now outputs) close(others outputs) {
	for path, o := range now {
		if others[path] != o {
			o.Close()
		}
	}
}

// list gives them in the order of their configuration.
func (now outputs) list(confs []output.Config) []agent.Output {
	var list []agent.Output
	for _, conf := range confs {
		list = append(list, now[conf.Path])
	}
	return list
}

// mend has those written again that somebody changed.
func (now outputs) mend(paths []string, a *agent.Engine, log zerolog.Logger) {
	for path, o := range now {
		if !slices.Contains(paths, path) {
			continue
		}
		if intact, err := o.Check(); !intact {
			log.Debug().Err(err).Str("output", path).Msg("output modified by another program")
			a.Rewrite(path)
		}
	}
}

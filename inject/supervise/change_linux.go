package supervise

import (
	"slices"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/mask"
	"github.com/Miosa-osa/miosa-env/inject/signal"
)

// changed records the command to run from now on.
func (v *supervisor) changed(next command.Command) {
	previous := v.next
	v.next = &next
	if v.stopping { // the current restart uses it
		if previous != nil && !v.ending {
			v.Log.Info().Any("changes", differences(*previous, next)).Msg("restarting command with a later change")
		}
		return
	}
	now := time.Now()
	if v.settle == nil {
		v.settleBy = now.Add(10 * v.Settle)
	}
	v.settle = time.After(min(v.Settle, v.settleBy.Sub(now)))
}

// apply does what OnChange says, unless the command has ended: then only its output may still be being written.
func (v *supervisor) apply() {
	if v.OnChange.Ignored() || v.next == nil || v.stopping || v.pid == 0 || slices.Equal(v.next.Env, v.command.Env) {
		return
	}
	log := v.Log.Info().Any("changes", differences(v.command, *v.next)).Int("pid", v.pid)
	switch {
	case v.OnChange.Restart:
		log.Msg("restarting command")
		v.terminal.take(v.group) // so that this process gets a key's signal, which cancels the restart, and forwards it
		v.stop()
	case v.OnChange.Signal != 0:
		log.Str("signal", signal.Name(v.OnChange.Signal)).Msg("signalling command")
		v.given(*v.next)
		v.send(v.pid, v.OnChange.Signal)
	case v.OnChange.Hook != "":
		log.Msg("running hook")
		v.given(*v.next)
		v.runHook()
	}
}

// given records what the command or its hook can read now, which the current output must not show either.
func (v *supervisor) given(next command.Command) {
	v.command.Env, v.command.Bound, v.command.Mask = next.Env, next.Bound, next.Mask
	if v.Masked {
		v.masked = union(v.masked, next.Mask)
		v.renewMasker()
		v.streams.setMasker(v.masker)
	}
}

// renewMasker makes a masker for v.masked.
func (v *supervisor) renewMasker() {
	var short []string
	v.masker, short = mask.New(v.masked)
	for _, name := range short {
		if !slices.Contains(v.unmasked, name) { // warn once, since earlier values are masked too
			v.unmasked = append(v.unmasked, name)
			v.Log.Warn().Str("name", name).Int("shortest", mask.MinLength).Msg("value is too short to be masked")
		}
	}
}

// union appends those of more that all doesn't contain.
func union(all, more []api.Bound) []api.Bound {
	for _, m := range more {
		if !slices.ContainsFunc(all, func(a api.Bound) bool { return a.ExposeAsEnv == m.ExposeAsEnv && a.Value.Equal(m.Value) }) {
			all = append(all, m)
		}
	}
	return all
}

// differences compares the environments of two commands.
func differences(before, after command.Command) api.Changes {
	versions := make(map[string]int64, len(after.Bound))
	for _, l := range after.Bound {
		versions[l.ExposeAsEnv] = l.Version
	}
	return api.Compare(variables(before.Env), variables(after.Env),
		func(a, b string) bool { return a == b },
		func(name string) int64 { return versions[name] })
}

// variables returns the values of an environment by name.
func variables(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		m[name] = value
	}
	return m
}

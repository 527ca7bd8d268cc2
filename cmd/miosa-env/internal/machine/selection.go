package machine

import (
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// selection is which bindings are taken, and under which names.
type selection struct {
	only    []string
	prefix  string
	require []string
	allow   []string
}

func (s *selection) addFlags(f *pflag.FlagSet) {
	f.Var(setting.List(&s.only), "only", "`NAMES` take only bindings with these names, or that match a pattern such as 'DB_*'")
	f.Var(setting.Prefix(&s.prefix), "prefix", "`TEXT` put this before each bound name; --only means names without it")
	f.Var(setting.List(&s.require), "require", "`NAMES` fail if one of these isn't set")
	f.Var(setting.List(&s.allow), "allow-name", "`NAMES` let bindings set these though they run code or move traffic")
}

// environment holds the selection, and nothing else yet.
func (s *selection) environment() environ.Environment {
	return environ.Environment{Only: s.only, Prefix: s.prefix, Require: s.require, AllowNames: s.allow}
}

// warn logs what a Build found that may not be meant.
func warn(log zerolog.Logger, warnings []environ.Warning) {
	var platform []string
	for _, w := range warnings {
		switch w.Kind {
		case environ.WarnOnly:
			event := log.Warn().Str("only", w.Name)
			if w.Meant != "" {
				event = event.Str("did_you_mean", w.Meant)
			}
			event.Msg("--only matches no binding")
		case environ.WarnPlatform:
			platform = append(platform, w.Name)
		default:
			log.Warn().Str("binding_id", w.Binding).Str("name", w.Name).Msg("binding sets a name that changes how programs behave")
		}
	}
	if len(platform) > 0 {
		log.Warn().Strs("names", platform).Msg("variables kept as set by the platform: bindings have no placeholder_token")
	}
}

package machine

import (
	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// addSelection adds the flags that select bindings and name their variables.
func addSelection(f *pflag.FlagSet, e *environ.Environment) {
	f.Var(setting.Patterns(&e.Only), "only", "`NAMES` use only bindings with these names, or names that match a pattern such as 'DB_*'")
	f.Var(setting.Prefix(&e.Prefix), "prefix", "`TEXT` prepend this to each bound name; --only matches the name without it")
	f.Var(setting.List(&e.Require), "require", "`NAMES` fail if one of these variables is not set")
	f.Var(setting.Patterns(&e.RequireOnly), "require-only", "`NAMES` refuse bindings that would set other variables; names or patterns such as 'APP_*'")
	f.Var(setting.List(&e.AllowNames), "allow-name", "`NAMES` allow bindings to set these variables, although they run code or redirect traffic")
}

// warn logs the warnings of Build.
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

// allNames is the value of --preserve-env without names. No variable has this name.
const allNames = "*"

// preserveNames is the value of --preserve-env[=NAMES].
func preserveNames(e *environ.Environment) *setting.Value {
	v := setting.List(&e.PreserveNames)
	return setting.Of(v.Type(), &e.PreserveNames, func(s string) ([]string, error) {
		if setting.Trim(s) == allNames {
			e.PreserveEnv = true
			return e.PreserveNames, nil
		}
		err := v.Set(s)
		return e.PreserveNames, err
	}, func([]string) string { return v.String() })
}

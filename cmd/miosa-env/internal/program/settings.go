package program

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/cache"
	"github.com/Miosa-osa/miosa-env/agent/socket"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/Miosa-osa/miosa-env/internal/cli"
)

// Settings say which vault to speak to, as whom, and how to log. Each has a flag and an environment
// variable.
type Settings struct {
	BaseURL   string
	KeyFile   string
	Sandbox   string
	Computer  string
	CAFile    string
	Proxy     string
	Socket    string
	NoAgent   bool
	Timeout   Duration
	LogLevel  Choice
	LogFormat Choice

	APIKey      string // MIOSA_API_KEY, where no --key-file comes before it
	Credentials string // the folder of systemd's credentials, where nothing comes before it

	Rereads bool // files are read again when they change: a pipe won't do

	Cache cacheFlags // of commands that have them
}

// cacheFlags say whether a sealed copy of the values is kept on this machine, and where.
type cacheFlags struct {
	On     bool
	Dir    string
	MaxAge Duration
}

// AddFlags adds the flags of a command that can keep a cache.
func (c *cacheFlags) AddFlags(f *pflag.FlagSet) {
	c.MaxAge = Duration(cache.DefaultMaxAge)
	f.BoolVar(&c.On, "cache", false, "keep a sealed copy of the values on this machine, and start from it when the vault is out of reach")
	f.StringVar(&c.Dir, "cache-dir", "", "`DIR` where that copy is kept (default: the state directory)")
	f.Var(&c.MaxAge, "cache-max-age", "`DURATION` how old it may be, from when the vault confirmed it last; 0 is the default")
}

// VariableOf gives the environment variable of a flag, "" where it has none. A map would be filled at
// each start.
func VariableOf(flag string) string {
	switch flag {
	case "base-url":
		return "MIOSA_BASE_URL"
	case "key-file":
		return "MIOSA_API_KEY_FILE"
	case "sandbox":
		return "MIOSA_SANDBOX_ID"
	case "computer":
		return "MIOSA_COMPUTER_ID"
	case "ca-file":
		return "MIOSA_CA_FILE"
	case "proxy":
		return "MIOSA_PROXY"
	case "socket":
		return "MIOSA_SOCKET"
	case "no-agent":
		return "MIOSA_NO_AGENT"
	case "config":
		return "MIOSA_CONFIG"
	case "cache":
		return "MIOSA_CACHE"
	case "cache-dir":
		return "MIOSA_CACHE_DIR"
	case "cache-max-age":
		return "MIOSA_CACHE_MAX_AGE"
	case "on-revoke":
		return "MIOSA_ON_REVOKE"
	case "timeout":
		return "MIOSA_TIMEOUT"
	case "log-level":
		return "MIOSA_LOG_LEVEL"
	case "log-format":
		return "MIOSA_LOG_FORMAT"
	}
	return ""
}

// AddFlags adds the flags that all commands have.
func (s *Settings) AddFlags(f *pflag.FlagSet) {
	s.LogLevel = Choice{"info", []string{"trace", "debug", "info", "warn", "error", "off"}}
	s.LogFormat = Choice{"text", []string{"text", "json"}}
	f.SortFlags = false
	f.Var(cli.Text(&s.BaseURL), "base-url", "`URL` the vault's API (default "+fetch.DefaultBaseURL+")")
	f.StringVar(&s.KeyFile, "key-file", "", "`FILE` the file that holds the key; comes before MIOSA_API_KEY")
	f.Var(cli.Text(&s.Sandbox), "sandbox", "`ID` the sandbox whose secrets are meant")
	f.Var(cli.Text(&s.Computer), "computer", "`ID` the computer whose secrets are meant, where it isn't a sandbox")
	f.StringVar(&s.CAFile, "ca-file", "", "`FILE` a PEM file with the only certificate authorities to trust")
	f.Var(cli.Text(&s.Proxy), "proxy", "`URL` a proxy to reach the vault through; HTTPS_PROXY and its like are not looked at")
	f.StringVar(&s.Socket, "socket", "", "`FILE` the agent's socket (default "+socket.DefaultPath+", or below XDG_RUNTIME_DIR)")
	s.Timeout = Duration(fetch.DefaultTimeout)
	f.Var(&s.Timeout, "timeout", "`DURATION` how long a request may take with all its retries; 0 is the default")
	f.Var(&s.LogLevel, "log-level", "`LEVEL` what is logged on standard error: trace, debug, info, warn, error or off")
	f.Var(&s.LogFormat, "log-format", "`FORMAT` how it is logged: text or json")
}

// complete takes from the environment what no flag gave.
func (s *Settings) complete(f *pflag.FlagSet, e Environment) error {
	resource := f.Changed("sandbox") || f.Changed("computer")
	if f.Changed("sandbox") && f.Changed("computer") {
		return cli.Usage(errors.New("--sandbox and --computer are both given"), "leave one out")
	}
	err := s.CompleteFlags(f, e, func(flag *pflag.Flag) bool {
		return resource && (flag.Name == "sandbox" || flag.Name == "computer")
	})
	if !f.Changed("key-file") {
		if s.APIKey = e.Setting("MIOSA_API_KEY"); s.APIKey != "" {
			s.KeyFile = ""
		} else if s.KeyFile == "" {
			s.Credentials = e.Get("CREDENTIALS_DIRECTORY")
		}
	}
	return err
}

// CompleteFlags takes from the environment what no flag of f gave, but for those to be skipped.
func (s *Settings) CompleteFlags(f *pflag.FlagSet, e Environment, skip func(*pflag.Flag) bool) error {
	var problems []error
	f.VisitAll(func(flag *pflag.Flag) {
		variable := VariableOf(flag.Name)
		value, own := e.Setting(variable), flag.Annotations[OwnTimeout] != nil
		if variable == "" || value == "" || flag.Changed && !own || skip(flag) {
			return
		}
		to := flag.Value
		if own {
			to = &s.Timeout
		}
		if err := to.Set(value); err != nil {
			problems = append(problems, fmt.Errorf("%s %s: %w", variable, cli.Quote(value), err))
		}
	})
	return errors.Join(problems...)
}

// NamedVault is the vault that --base-url or MIOSA_BASE_URL names, in its normal form; empty: none.
func (s *Settings) NamedVault() (string, error) {
	if s.BaseURL == "" {
		return "", nil
	}
	return fetch.Config{BaseURL: s.BaseURL}.Vault()
}

// Resource says whose secrets are meant.
func (s *Settings) Resource() (api.Resource, error) {
	switch {
	case s.Sandbox != "" && s.Computer != "":
		return api.Resource{}, cli.WithHint(
			errors.New("MIOSA_SANDBOX_ID and MIOSA_COMPUTER_ID are both set"),
			"unset one, or give --sandbox ID or --computer ID, which comes before both")
	case s.Sandbox != "":
		r := api.Resource{Type: api.Sandbox, ID: s.Sandbox}
		return r, namedWithHint(r.Validate(), "sandbox id", "correct MIOSA_SANDBOX_ID or --sandbox")
	case s.Computer != "":
		r := api.Resource{Type: api.Computer, ID: s.Computer}
		return r, namedWithHint(r.Validate(), "computer id", "correct MIOSA_COMPUTER_ID or --computer")
	}
	return api.Resource{}, cli.WithHint(
		errors.New("no sandbox or computer is named: neither MIOSA_SANDBOX_ID nor MIOSA_COMPUTER_ID is set"),
		"set one, or give --sandbox ID or --computer ID")
}

func namedWithHint(err error, what, hint string) error {
	if err == nil {
		return nil
	}
	return cli.WithHint(named(err, what), hint)
}

func named(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

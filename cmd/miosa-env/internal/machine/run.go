package machine

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/agent/config"
	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/broker"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/command"
	"github.com/Miosa-osa/miosa-env/inject/dotenv"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/inject/signal"
	"github.com/Miosa-osa/miosa-env/inject/supervise"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
)

// runFlags are the flags of run.
type runFlags struct {
	environment environ.Environment
	onChange    supervise.Change
	mask        bool
	replace     bool
	stopSignal  syscall.Signal
	stopTimeout time.Duration
	settle      time.Duration
	outlive     bool
}

// Run returns the command run.
func Run(p *program.Program) *cli.Command {
	f := &runFlags{
		stopSignal:  syscall.SIGTERM,
		stopTimeout: supervise.DefaultStopTimeout,
		settle:      supervise.DefaultSettle,
	}
	return &cli.Command{
		Use:   "run [FLAG...] [--] COMMAND [ARG...]",
		Short: "Start a command with its secrets",
		Long: `Starts COMMAND with the values bound to this sandbox or computer in its environment.

The environment is that of miosa-env, then --env-file, then the bound values; later entries
override earlier ones. run refuses a binding whose name makes programs run other code
(LD_PRELOAD, PATH) or redirects traffic (HTTPS_PROXY), unless --allow-name lists it. The key is
not in COMMAND's environment.

If an agent on this machine serves the values, they come from the agent, without a key or network
access. If --base-url or MIOSA_BASE_URL names another vault than the agent's, the agent is not used.
Without an agent the values come from the vault. --cache keeps a sealed copy of them, which is used
if the vault does not answer.

miosa-env replaces itself with COMMAND, which has the same process id. With --on-change, --mask or
--egress, and as process 1, it stays as COMMAND's parent instead, forwards signals, and gives
COMMAND the terminal. Flags of miosa-env end at -- or at the first word that is not a flag.

With --egress, COMMAND's requests go through a broker, which replaces placeholders with values. run
sets the proxy variables and those that name the certificate authorities to trust. Their files are in
memory and are removed when COMMAND ends. If the broker cannot be reached, nothing is started.

The exit code is COMMAND's own, or 128+n if signal n ended it. It is 125 if miosa-env failed
before COMMAND ran, or if --mask lost output of a COMMAND that exited with 0; 126 if COMMAND
cannot be executed, 127 if it was not found, and 2 for invalid flags.`,
		Example: `  miosa-env run -- ./server --port 8080
  miosa-env run --on-change restart -- ./server
  miosa-env run --on-change 'hook=./render-config && kill -HUP $MIOSA_COMMAND_PID' -- ./server
  miosa-env run --env-file .env --only 'DB_*' --require DB_URL -- ./migrate
  miosa-env run --mask -- make deploy`,
		Flags: func(set *pflag.FlagSet) {
			set.SetInterspersed(false)
			set.StringArrayVar(&f.environment.Files, "env-file", nil, "`FILE` read variables from a .env file or a JSON object; repeatable, later files override earlier ones")
			addSelection(set, &f.environment)
			set.Var(preserveNames(&f.environment), "preserve-env", "`NAMES` let variables that are already set override bindings: all, or only these")
			set.Lookup("preserve-env").NoOptDefVal = allNames
			set.BoolVar(&f.environment.Pristine, "pristine", false, "start from an empty environment")
			set.BoolVar(&f.environment.KeepKey, "keep-key", false, "leave the keys in COMMAND's environment: MIOSA_API_KEY, MIOSA_TENANT_KEY, and their files")
			set.Var(setting.Of("change", &f.onChange, parseChange, supervise.Change.String), "on-change", "`WHAT` action when a value changes: ignore; restart; signal=SIGNAL, which does not change COMMAND's environment; or hook=SHELL-COMMAND, which gets the new environment and MIOSA_COMMAND_PID")
			set.BoolVar(&f.mask, "mask", false, "replace values in COMMAND's output, including encoded forms, with [NAME]")
			set.BoolVar(&f.replace, "replace", false, "replace miosa-env with COMMAND even as process 1")
			set.Var(setting.Of("signal", &f.stopSignal, signal.Parse, shortName), "stop-signal", "`SIGNAL` the signal that asks COMMAND to stop")
			set.Var(setting.Duration(&f.stopTimeout), "stop-timeout", "`DURATION` how long to wait before killing COMMAND's process group")
			set.Var(setting.Duration(&f.settle), "settle", "`DURATION` how long to wait for further changes before that action")
			set.BoolVar(&f.outlive, "outlive", false, "let COMMAND continue if miosa-env is killed")
			p.AddFlags(set, "run")
		},
		CompleteFlag: completeFlag(p),
		Args: func(args []string) error {
			switch {
			case len(args) == 0:
				return errors.New("the command to start is missing")
			case f.replace && (!f.onChange.Ignored() || f.mask):
				return cli.WithHint(errors.New("--replace doesn't go with --on-change or --mask: they need miosa-env to stay"), "leave --replace out")
			case f.replace && p.Settings.Egress != "":
				return errReplaceEgress
			case f.replace && p.Settings.OnRevoke == config.RevokeStop:
				return cli.WithHint(errors.New("--replace doesn't go with --on-revoke stop: it needs miosa-env to stay"), "leave --replace out")
			}
			return nil
		},
		Run: func(ctx context.Context, inv *cli.Invocation) error {
			if err := p.Begin(inv.Flags); err != nil {
				return err
			}
			if err := checkBroker(p, inv); err != nil {
				return err
			}
			f.environment.Inherited = p.Environ
			r := &runner{Program: p, argv: inv.Args, environment: f.environment, follows: !f.onChange.Ignored()}
			var err error
			if r.broker, err = broker.Of(&p.Settings); err != nil {
				return err
			}
			if r.broker != nil && f.replace { // MIOSA_EGRESS
				return errReplaceEgress
			}
			code, err := r.start(ctx, f)
			p.Code = code
			return err
		},
	}
}

var errReplaceEgress = cli.WithHint(errors.New("--replace doesn't go with --egress or MIOSA_EGRESS: it needs miosa-env to stay, to remove its files"), "leave --replace out")

func parseChange(s string) (supervise.Change, error) { return supervise.ParseChange(setting.Trim(s)) }

// shortName returns a signal's name without SIG.
func shortName(n syscall.Signal) string { return strings.TrimPrefix(signal.Name(n), "SIG") }

// runner starts one command.
type runner struct {
	*program.Program
	argv        []string
	environment environ.Environment // without Bound
	follows     bool                // acts on changes, and reads env files again

	// Set by prepare.
	supply  *supply
	first   api.Snapshot // the set the command starts with; later the latest set
	command command.Command
	seen    map[string]environ.Fingerprint // of the values that the command got last, if it follows
	kept    []*os.File                     // copies of env files that can be read only once
	given   map[string]string              // path of a copy to that of its original

	broker *broker.Broker // nil: none
	files  *broker.Files  // of the broker's clients; nil: there is no broker
}

// prepare gets the first set and builds the command.
func (r *runner) prepare(ctx context.Context) (err error) {
	if r.supply, err = newSupply(ctx, r.Program); err != nil {
		return err
	}
	if r.follows {
		if err := r.keepPipes(); err != nil {
			return err
		}
	}
	if r.broker != nil {
		if err := r.throughBroker(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	if r.first, err = r.supply.first(ctx); err != nil {
		return err
	}
	r.Log.Debug().Int("bindings", len(r.first.Bound)).Stringer("took", time.Since(began).Round(time.Microsecond)).Msg("values received")
	r.command, r.seen, err = r.build(r.first)
	return markExpired(ctx, r.Program, r.environment.Prefix, err)
}

// build returns the command with the values of s.
func (r *runner) build(s api.Snapshot) (command.Command, map[string]environ.Fingerprint, error) {
	environment := r.environment
	environment.Bound = s.Bound
	built, err := environment.Build()
	if err != nil {
		return command.Command{}, nil, r.asGiven(err)
	}
	warn(r.Log, built.Warnings)
	if r.broker != nil && slices.Contains(broker.Direct(program.Environment(built.Environ).Get), "*") {
		r.Log.Warn().Msg("NO_PROXY has *: no request goes through the broker, and servers get placeholders")
	}
	path, err := command.Lookup(r.argv[0], built.Environ)
	if err != nil {
		return command.Command{}, nil, err
	}
	if err := command.Preflight(path, r.argv, built.Environ, built.Bound); err != nil {
		return command.Command{}, nil, err
	}
	r.Log.Debug().Str("path", path).Int("bindings", len(built.Bound)).Int("variables", len(built.Environ)).Msg("command is ready")
	command := command.Command{Path: path, Args: r.argv, Env: built.Environ, Mask: built.Bound}
	if !r.follows {
		return command, nil, nil
	}
	command.Bound = api.Labels(built.Bound)
	return command, built.Fingerprints(), nil
}

// asGiven makes errors of Build name files as the user did.
func (r *runner) asGiven(err error) error {
	for _, problem := range cli.Problems(err) {
		if file, ok := errors.AsType[*dotenv.Error](problem); ok && r.given[file.Path] != "" {
			file.Path = r.given[file.Path]
		}
	}
	return err
}

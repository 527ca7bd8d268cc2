package tenant

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// Exit codes of oauth connect, in addition to those of every command.
const (
	exitDenied  = 3 // the user or the provider denied access
	exitFailed  = 4 // the flow failed, or its link expired
	exitTimeout = 5 // the flow isn't completed yet
)

// flowEnd is the error for a flow that wasn't completed.
type flowEnd struct {
	error
	code int
}

func (e flowEnd) ExitCode() int { return e.code }
func (e flowEnd) Unwrap() error { return e.error }

func oauthCommand(p *program.Program) *cli.Command {
	return group("oauth", "Connect accounts at GitHub, Google and others",
		`Connects an account at a provider: somebody opens a link and agrees, and the vault keeps the token as
a secret, and renews it. These commands take a tenant key, as miosa-env secrets does.`,
		oauthProvidersCommand(p), oauthConnectCommand(p),
	)
}

func oauthProvidersCommand(p *program.Program) *cli.Command {
	var asJSON bool
	return vaultCommand(p, &cli.Command{
		Use:   "providers [FLAG...]",
		Short: "List the providers at which accounts can be connected",
		Flags: func(f *pflag.FlagSet) {
			addJSONFlag(f, &asJSON, "a JSON list")
		},
	}, func(ctx context.Context, vault *secrets.Client, _ *cli.Invocation) error {
		list, err := vault.Providers(ctx)
		if err != nil {
			return err
		}
		return printList(p, asJSON, list, func() string { return "the vault has no providers" },
			[]string{"PROVIDER", "CALLED", "ASKS FOR"}, func(provider *api.Provider) []string {
				return []string{provider.Name, provider.DisplayName, strings.Join(provider.Scopes, " ")}
			})
	})
}

func oauthConnectCommand(p *program.Program) *cli.Command {
	var (
		bind         []target
		of           owners
		noQR, asJSON bool
		wait         = 5 * time.Minute
		delivery     string
	)
	return vaultCommand(p, &cli.Command{
		Use:   "connect [FLAG...] PROVIDER",
		Short: "Connect an account, and bind its token",
		Long: `Prints a link, and on a terminal its QR code, at which a user grants access, and waits for the result.
Anyone who has the link can connect an account until the link is used or expires. Exit codes:

  0    connected: the token is stored as a secret, and bound as set by --bind
  2    invalid flags
  3    denied by the user or the provider
  4    failed, or the link expired unused
  5    not completed within --timeout; the link stays valid until it expires
  125  other errors
  130  interrupted; the link stays valid until it expires

MIOSA's platform does not report how a link is used. There the wait ends with the first newly connected
account of PROVIDER, and a denial is not noticed.`,
		Example: `  miosa-env oauth connect github --bind sandbox:sb_1=GH_TOKEN
  miosa-env oauth connect google --external-user u_17 --timeout 10m`,
		Args:     oneArgument("the provider's name"),
		Complete: cli.First(completeWords(p, providerNames)),
		Flags: func(f *pflag.FlagSet) {
			f.Var(targetsValue(&bind), "bind", "`RESOURCE=NAME` bind the token there as this variable, such as sandbox:sb_1=GH_TOKEN")
			of.addFlags(f, false)
			f.Var(setting.Choice(&delivery, []string{api.DeliverValue, api.DeliverPlaceholder}), "delivery", "`WORD` value (the default), or placeholder: the variable contains a placeholder that a broker replaces")
			f.Var(setting.Duration(&wait), "timeout", "`DURATION` how long to wait for somebody to agree")
			f.BoolVar(&noQR, "no-qr", false, "show no QR code")
			addJSONFlag(f, &asJSON, "how it ended, as a JSON object; the link goes to standard error")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		if len(bind) > 1 {
			return cli.Usage(errors.New("--bind is given more than once"), "connect with one, and add others with miosa-env bindings create")
		}
		options := secrets.Connect{
			Scope: of.scope, OwnerUserID: of.owner, ExternalUserID: of.externalUser, ExternalWorkspaceID: of.externalWorkspace,
		}
		bound := ""
		if len(bind) == 1 {
			options.Resource, options.ExposeAsEnv = bind[0].Resource, bind[0].variable
			bound = ", bound as " + bind[0].String()
		}
		if delivery != "" && len(bind) == 0 {
			return cli.Usage(errors.New("--delivery is about the binding, and there is none"), "add --bind, or leave it out")
		}
		options.Delivery = delivery
		warnOfNames(p, bind...)
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		flow, err := vault.Connect(ctx, inv.Args[0], options)
		switch {
		case errors.Is(err, api.ErrInvalid) && strings.HasPrefix(err.Error(), "provider"):
			return unknownProvider(ctx, vault, inv.Args[0])
		case err != nil:
			return err
		}
		if err := showLink(p, flow, noQR, asJSON); err != nil {
			return err
		}
		done := showWaiting(ctx, p, "waiting for access to be granted at "+cli.OneLine(inv.Args[0]))
		status, err := flow.WaitForCompletion(ctx, secrets.WaitOptions{Timeout: wait})
		done()
		if err == nil && delivery == "" && len(bind) == 1 {
			connected, _ := vault.Get(ctx, status.SecretID) // the key may not read it
			warnOfBoundValues(ctx, p, vault, &connected, func(b *api.Binding) bool { return targetOf(b) == bind[0] })
		}
		if asJSON && status.Status != "" {
			err = errors.Join(printJSON(p, status), err)
		}
		switch {
		case err != nil:
			return endOf(flow, err, wait)
		case asJSON:
			return nil
		}
		return printDone(p, "connected: the token is the secret "+status.SecretID+bound)
	})
}

// unknownProvider returns the error for a provider that the vault doesn't have.
func unknownProvider(ctx context.Context, vault *secrets.Client, name string) error {
	err := fmt.Errorf("the vault has no provider %s", cli.Quote(name))
	list, _ := vault.Providers(ctx) // after an error there is no suggestion
	if len(list) == 0 {
		return cli.WithHint(err, "it has no providers at all: miosa-vault names them in its --oauth-file")
	}
	known := cli.Texts(list, func(provider *api.Provider) string { return provider.Name })
	return cli.WithHint(err, cli.Meant(name, known)+"miosa-env oauth providers lists them")
}

// endOf returns the error for a flow that wasn't completed, with its exit code and what to do next.
func endOf(flow *secrets.Flow, err error, waited time.Duration) error {
	ended, isEnd := errors.AsType[*secrets.FlowError](err)
	switch {
	case !isEnd && !errors.Is(err, secrets.ErrFlowTimeout) && !errors.Is(err, context.Canceled):
		return err
	case !isEnd:
		later := "miosa-env secrets list --type oauth_connect shows whether it was connected later"
		if !flow.ExpiresAt.IsZero() {
			later = "the link works until " + flow.ExpiresAt.Local().Format("15:04:05") + "; " + later
		}
		if errors.Is(err, secrets.ErrFlowTimeout) {
			return flowEnd{cli.WithHint(fmt.Errorf("not connected yet, after %s", waited), later), exitTimeout}
		}
		return flowEnd{cli.WithHint(errors.New("interrupted: not connected yet"), later), 128 + int(syscall.SIGINT)}
	}
	why, code := "the provider or the vault failed"+because(ended.Status), exitFailed
	switch {
	case ended.Status.Status == api.FlowDenied:
		why, code = "access was denied"+because(ended.Status), exitDenied
	case ended.Status.Error == "expired":
		why = "nobody used the link before it ended"
	}
	return flowEnd{cli.WithHint(errors.New("not connected: "+why), "run the same command for a new link"), code}
}

func because(s api.OAuthStatus) string {
	switch {
	case s.Message != "":
		return ": " + s.Message
	case s.Error != "":
		return " (" + s.Error + ")"
	}
	return ""
}

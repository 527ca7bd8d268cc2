package tenant

import (
	"errors"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/inject/environ"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// target is the resource and variable that a secret is bound to, such as sandbox:sb_1=GH_TOKEN.
type target struct {
	api.Resource
	variable string
}

var errNoTarget = errors.New("want sandbox:ID=NAME or computer:ID=NAME, NAME being the variable")

// parseTarget parses a target. Its errors do not contain it: what follows the = may be a value by mistake.
func parseTarget(s string) (target, error) {
	resource, variable, ok := strings.Cut(s, "=")
	variable = setting.Trim(variable)
	if !ok || variable == "" {
		return target{}, errNoTarget
	}
	r, err := cli.ParseResource(resource)
	if err == nil && (len(variable) > 256 || setting.Prefix(&variable).Set(variable) != nil) {
		err = errors.New("the name of a variable is letters, digits and _, no digit first")
	}
	return target{r, variable}, err
}

func (t target) String() string { return t.Resource.String() + "=" + t.variable }

// targetsValue adds a target each time it is set.
func targetsValue(to *[]target) *setting.Value {
	return setting.Of("targets", to, func(s string) ([]target, error) {
		got, err := parseTarget(s)
		return append(*to, got), err
	}, func([]target) string { return "" })
}

// warnOfNames logs a warning for each variable that run refuses to set. Without --allow-name, it starts nothing on that
// resource.
func warnOfNames(p *program.Program, list ...target) {
	for _, to := range list {
		bound := api.Bound{}
		bound.ExposeAsEnv = to.variable
		_, err := environ.Environment{Pristine: true, Bound: []api.Bound{bound}}.Build()
		if refused, ok := errors.AsType[*environ.Refused](err); ok {
			p.Log.Warn().Str("name", to.variable).Str("resource", to.Resource.String()).Str("reason", refused.Problems[0].Reason).
				Str("allow", refused.Problems[0].Allow).Msg("run refuses to set this variable")
		}
	}
}

// resourceValue is a sandbox or computer, such as sandbox:sb_1.
func resourceValue(to *api.Resource) *setting.Value {
	return setting.Of("resource", to, cli.ParseResource, func(r api.Resource) string {
		if r == (api.Resource{}) {
			return ""
		}
		return r.String()
	})
}

// expiry is a flag for a time in the future, given as a time or as the duration until then.
type expiry struct {
	at     *time.Time
	or     bool // accept the word never
	never  bool
	former bool // accept times in the past, and durations since then

	ago string // the duration as given, if in days or weeks, which the vault reads
}

// Set accepts 720h or 2030-01-02T03:04:05Z.
func (e *expiry) Set(s string) error {
	s = setting.Trim(s)
	if e.or && strings.EqualFold(s, "never") {
		e.at, e.never = nil, true
		return nil
	}
	e.never, e.ago = false, ""
	d, err := time.ParseDuration(s)
	lengths, sign := "720h", time.Duration(1)
	if e.former {
		lengths, sign = "24h or 7d", -1
		if ago, ok := api.ParseAgo(s); ok && strings.ContainsAny(s, "dw") {
			d, err, e.ago = ago, nil, s
		}
	}
	var at time.Time
	if err == nil && d > 0 {
		at = time.Now().Add(sign * d).UTC().Truncate(time.Second)
	} else if at, err = time.Parse(time.RFC3339, s); err != nil {
		return errors.New("want a length of time such as " + lengths + ", or a time such as 2030-01-02T15:04:05Z")
	}
	e.at = &at
	return nil
}

func (e *expiry) String() string { return "" }

// Type returns "expiry".
func (e *expiry) Type() string { return "expiry" }

// secretTypes are the types of secrets that shells complete.
var secretTypes = []string{"api_key", "env_var", "bearer", "basic", "generic", "oauth_connect", "oauth_machine", "oauth_token"}

// owners are the flags for the attribution of a secret.
type owners struct {
	scope, workspace, owner, externalUser, externalWorkspace string
}

func (o *owners) addFlags(f *pflag.FlagSet, workspace bool) {
	f.Var(setting.Word(&o.scope).Suggest("user", "workspace", "tenant", "external_user", "external_workspace"), "scope", "`SCOPE` user, workspace, tenant, external_user or external_workspace")
	if workspace {
		f.Var(setting.Text(&o.workspace), "workspace", "`ID` the workspace it is attributed to")
	}
	f.Var(setting.Text(&o.owner), "owner-user", "`ID` the user it is attributed to")
	f.Var(setting.Text(&o.externalUser), "external-user", "`ID` the user of yours it is attributed to")
	f.Var(setting.Text(&o.externalWorkspace), "external-workspace", "`ID` the workspace of yours it is attributed to")
}

func (o owners) filter() secrets.Filter {
	return secrets.Filter{
		Scope: o.scope, WorkspaceID: o.workspace, OwnerUserID: o.owner,
		ExternalUserID: o.externalUser, ExternalWorkspaceID: o.externalWorkspace,
	}
}

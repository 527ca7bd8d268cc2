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

// place is where a secret is bound, as sandbox:sb_1=GH_TOKEN says it.
type place struct {
	api.Resource
	variable string
}

var errNoPlace = errors.New("want sandbox:ID=NAME or computer:ID=NAME, NAME being the variable")

// parsePlace reads a place. Its errors don't repeat it: what follows the = may be a value by mistake.
func parsePlace(s string) (place, error) {
	resource, variable, ok := strings.Cut(s, "=")
	variable = setting.Trim(variable)
	if !ok || variable == "" {
		return place{}, errNoPlace
	}
	r, err := cli.ParseResource(resource)
	if err == nil && (len(variable) > 256 || new(setting.Prefix).Set(variable) != nil) {
		err = errors.New("the name of a variable is letters, digits and _, no digit first")
	}
	return place{r, variable}, err
}

func (p place) String() string { return p.Resource.String() + "=" + p.variable }

// places is a flag that takes places, and can be given several times.
type places []place

// Set adds one.
func (p *places) Set(s string) error {
	got, err := parsePlace(s)
	if err != nil {
		return err
	}
	*p = append(*p, got)
	return nil
}

func (p *places) String() string { return "" }

// Type is what pflag wants to know; nothing shows it.
func (p *places) Type() string { return "places" }

// warnOfNames warns of variables that run refuses to set: until it gets --allow-name, or the binding is gone,
// it starts nothing on that resource.
func warnOfNames(p *program.Program, list ...place) {
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

// resourceFlag is a flag that takes a sandbox or computer.
type resourceFlag struct{ api.Resource }

// Set reads sandbox:sb_1.
func (r *resourceFlag) Set(s string) (err error) {
	r.Resource, err = cli.ParseResource(s)
	return err
}

func (r *resourceFlag) String() string {
	if r.Resource == (api.Resource{}) {
		return ""
	}
	return r.Resource.String()
}

// Type is what pflag wants to know; nothing shows it.
func (r *resourceFlag) Type() string { return "resource" }

// expiry is a flag that takes a time to come, as such or as how long it is away.
type expiry struct {
	at     *time.Time
	or     bool // the word never is taken too
	never  bool
	former bool // how long ago it was instead

	ago string // the same as it was given, in days or weeks: the vault reads it
}

// Set reads 720h, or 2030-01-02T03:04:05Z.
func (e *expiry) Set(s string) error {
	s = setting.Trim(s)
	if e.or && strings.EqualFold(s, "never") {
		e.at, e.never = nil, true
		return nil
	}
	e.never, e.ago = false, ""
	if ago, ok := api.ParseAgo(s); ok && e.former && strings.ContainsAny(s, "dw") {
		at := time.Now().Add(-ago).UTC().Truncate(time.Second)
		e.at, e.ago = &at, s
		return nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		if e.former {
			d = -d
		}
		at := time.Now().Add(d).UTC().Truncate(time.Second)
		e.at = &at
		return nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil && e.former {
		return errors.New("want a length of time such as 24h or 7d, or a time such as 2030-01-02T15:04:05Z")
	}
	if err != nil {
		return errors.New("want a length of time such as 720h, or a time such as 2030-01-02T15:04:05Z")
	}
	e.at = &at
	return nil
}

func (e *expiry) String() string { return "" }

// Type is what pflag wants to know; nothing shows it.
func (e *expiry) Type() string { return "expiry" }

// owners are the flags that say whose a secret is: when it is stored, and when secrets are listed.
type owners struct {
	scope, workspace, owner, externalUser, externalWorkspace string
}

func (o *owners) addFlags(f *pflag.FlagSet, workspace bool) {
	f.Var((*setting.Word)(&o.scope), "scope", "`SCOPE` user, workspace, tenant, external_user or external_workspace")
	if workspace {
		f.Var((*setting.Text)(&o.workspace), "workspace", "`ID` the workspace it is attributed to")
	}
	f.Var((*setting.Text)(&o.owner), "owner-user", "`ID` the user it is attributed to")
	f.Var((*setting.Text)(&o.externalUser), "external-user", "`ID` the user of yours it is attributed to")
	f.Var((*setting.Text)(&o.externalWorkspace), "external-workspace", "`ID` the workspace of yours it is attributed to")
}

func (o owners) filter() secrets.Filter {
	return secrets.Filter{
		Scope: o.scope, WorkspaceID: o.workspace, OwnerUserID: o.owner,
		ExternalUserID: o.externalUser, ExternalWorkspaceID: o.externalWorkspace,
	}
}

package tenant

import (
	"errors"
	"strings"

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
	f.Var(setting.Text(&o.externalUser), "external-user", "`ID` your user it is attributed to")
	f.Var(setting.Text(&o.externalWorkspace), "external-workspace", "`ID` your workspace it is attributed to")
}

func (o owners) filter() secrets.Filter {
	return secrets.Filter{
		Scope: o.scope, WorkspaceID: o.workspace, OwnerUserID: o.owner,
		ExternalUserID: o.externalUser, ExternalWorkspaceID: o.externalWorkspace,
	}
}

package tenant

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/cmd/miosa-env/internal/program"
	"github.com/Miosa-osa/miosa-env/internal/cli"
	"github.com/Miosa-osa/miosa-env/internal/service"
	"github.com/Miosa-osa/miosa-env/internal/setting"
	"github.com/Miosa-osa/miosa-env/secrets"
)

// egressFlags are the flags for where a broker may send a secret's value.
type egressFlags struct {
	service                      string
	hosts, methods, paths, slots []string
	ports                        []string
	prefix, alphabet             string
	length                       int
}

// addFlags adds the flags; those for the form of placeholders and --for, if whole, are for secrets.
func (e *egressFlags) addFlags(f *pflag.FlagSet, whole bool) {
	f.Var(setting.List(&e.hosts), "egress-host", "`LIST` a broker may send the value to these hosts only, such as api.example.com,*.example.com")
	f.Var(setting.List(&e.ports), "egress-port", "`LIST` to these ports only (default: 443)")
	f.Var(setting.List(&e.methods), "egress-method", "`LIST` in requests with these methods only, such as GET,POST")
	f.Var(setting.List(&e.paths), "egress-path", "`LIST` to these paths only, such as /v1/**: * matches within a segment, ** any text")
	f.Var(setting.List(&e.slots), "egress-slot", "`LIST` in these places only, such as authorization,header:X-Key,query:key (default: the usual headers)")
	if !whole {
		return
	}
	f.Var(setting.Word(&e.service).Suggest(service.Names()...), "for", "`API` what it is for, which says where a broker may send it: "+strings.Join(someServices, ", ")+" and others")
	f.Var(setting.Text(&e.prefix), "egress-prefix", "`TEXT` its placeholders begin with this, such as sk-, for clients that check keys")
	f.IntVar(&e.length, "egress-length", 0, "`N` characters that its placeholders have")
	f.Var(setting.Text(&e.alphabet), "egress-alphabet", "`TEXT` of which the random part of its placeholders is (default: A-Za-z0-9)")
}

// someServices are examples of services.
var someServices = []string{"openai", "anthropic", "github", "aws", "stripe", "slack"}

// rule returns the rule that the flags give: the service's, with what other flags say. nil: no flag is given.
func (e *egressFlags) rule() (*api.EgressRule, error) {
	var r api.EgressRule
	if e.service != "" {
		var ok bool
		if r, ok = service.Rule(e.service); !ok {
			return nil, cli.Usage(errors.New("--for: there is no API "+cli.Quote(e.service)),
				cli.Meant(e.service, service.Names())+"known are "+strings.Join(service.Names(), ", ")+"; --egress-host is for others")
		}
	}
	for _, list := range []struct {
		flag []string
		to   *[]string
	}{{e.hosts, &r.Hosts}, {e.paths, &r.Paths}, {e.slots, &r.Slots}} {
		if list.flag != nil {
			*list.to = list.flag
		}
	}
	if e.methods != nil {
		r.Methods = make([]string, len(e.methods))
		for i, method := range e.methods {
			r.Methods[i] = strings.ToUpper(method)
		}
	}
	if e.ports != nil {
		r.Ports = make([]int, len(e.ports))
		for i, text := range e.ports {
			port, err := strconv.Atoi(text)
			if err != nil {
				return nil, cli.Usage(errors.New("--egress-port: want numbers such as 443"), "give numbers from 1 to 65535")
			}
			r.Ports[i] = port
		}
	}
	if e.prefix != "" || e.alphabet != "" || e.length != 0 {
		r.Shape = &api.EgressShape{Prefix: e.prefix, Length: e.length, Alphabet: e.alphabet}
	}
	if r.IsZero() {
		return nil, nil
	}
	if err := r.Validate(); err != nil {
		return nil, cli.Usage(err, "--egress-host and the other --egress flags give the rule; --for has those of well-known APIs")
	}
	return &r, nil
}

func egressCommand(p *program.Program) *cli.Command {
	var flags egressFlags
	var none, asJSON bool
	return vaultCommand(p, &cli.Command{
		Use:   "egress [FLAG...] SECRET",
		Short: "Change where a broker may send a secret",
		Long: `Changes where a broker may send a secret that sandboxes have only placeholders of. The flags give the
whole rule; the value stays as it is. If placeholders then have another form, sandboxes get new
ones. A key needs the permissions secrets:write and bindings:write.`,
		Example: `  miosa-env secrets egress openai --for openai
  miosa-env secrets egress billing --egress-host api.example.com --egress-slot header:X-Key
  miosa-env secrets egress old --none`,
		Args:     oneArgument("the secret's id or name"),
		Complete: cli.First(completeWords(p, secretIDs)),
		Flags: func(f *pflag.FlagSet) {
			flags.addFlags(f, true)
			f.BoolVar(&none, "none", false, "a broker sends it nowhere")
			addJSONFlag(f, &asJSON, "a JSON object")
		},
	}, func(ctx context.Context, vault *secrets.Client, inv *cli.Invocation) error {
		rule, err := flags.rule()
		switch {
		case err != nil:
			return err
		case none && rule != nil:
			return cli.Usage(errors.New("--none goes with no other rule"), "give one of them")
		case none:
			rule = new(api.EgressRule)
		case rule == nil:
			return cli.Usage(errors.New("there is no rule"), "give --for or --egress-host, or --none so that it is sent nowhere")
		}
		s, err := findSecret(ctx, vault, inv.Args[0])
		if err != nil {
			return err
		}
		changed, err := vault.SetEgress(ctx, s.ID, *rule)
		if err == nil {
			err = checkRuleStored(rule, &changed)
		}
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(p, &changed)
		case none:
			return printDone(p, "a broker sends "+nameAndID(&changed)+" nowhere")
		}
		return printDone(p, "a broker may send "+nameAndID(&changed)+" to "+describeRule(changed.Egress))
	})
}

// checkRuleStored returns an error if the vault has ignored a rule.
func checkRuleStored(rule *api.EgressRule, s *api.Secret) error {
	if rule == nil || rule.IsZero() || s.Egress != nil {
		return nil
	}
	return cli.WithHint(errors.New("the vault has no egress rules: nothing restricts where "+nameAndID(s)+" is sent"), "upgrade the vault")
}

// warnOfNoRule logs a warning for a secret that is delivered as a placeholder and has no rule: miosa-egress sends it nowhere.
func warnOfNoRule(p *program.Program, s *api.Secret, delivery string) {
	if delivery == api.DeliverPlaceholder && (s.Egress == nil || s.Egress.IsZero()) {
		p.Log.Warn().Str("secret", s.Name).Str("command", "miosa-env secrets egress").Msg("miosa-egress sends this secret nowhere: it has no rule")
	}
}

// warnOfValue logs a warning if a new binding delivers the value itself and nobody has asked for that, although there is a rule, the
// secret's or narrow, the binding's own: a rule is about placeholders only.
func warnOfValue(p *program.Program, s *api.Secret, narrow *api.EgressRule, delivery string, made ...api.Binding) {
	if delivery != "" || (s.Egress == nil || s.Egress.IsZero()) && narrow == nil {
		return
	}
	for i := range made {
		if b := &made[i]; b.Delivery != api.DeliverPlaceholder {
			p.Log.Warn().Str("secret", s.Name).Stringer("binding", targetOf(b)).Str("flag", "--delivery placeholder").
				Msg("this binding delivers the value itself, although there is a rule for a broker")
		}
	}
}

// describeRule returns a rule for people; "" for nil.
func describeRule(r *api.EgressRule) string {
	if r == nil {
		return ""
	}
	parts := []string{few(r.Hosts)}
	add := func(what string, list []string) {
		if len(list) > 0 {
			parts = append(parts, what+" "+few(list))
		}
	}
	ports := make([]string, len(r.Ports))
	for i, port := range r.Ports {
		ports[i] = strconv.Itoa(port)
	}
	add("ports", ports)
	add("methods", r.Methods)
	add("paths", r.Paths)
	add("in", r.Slots)
	if r.Shape != nil && r.Shape.Prefix != "" {
		parts = append(parts, "placeholders "+r.Shape.Prefix+"...")
	}
	return strings.Join(parts, "; ")
}

// ruleHosts returns the hosts of a rule for a list; "" for nil.
func ruleHosts(r *api.EgressRule) string {
	if r == nil {
		return ""
	}
	return few(slices.Clone(r.Hosts))
}

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
	f.Var(setting.List(&e.hosts), "egress-host", "`LIST` hosts that a broker may send the value to, such as api.example.com,*.example.com")
	f.Var(setting.List(&e.ports), "egress-port", "`LIST` only these ports (default: 443)")
	f.Var(setting.List(&e.methods), "egress-method", "`LIST` only these methods, such as GET,POST (default: all)")
	f.Var(setting.List(&e.paths), "egress-path", "`LIST` only these paths, such as /v1/**: * matches within a segment, ** any text (default: all)")
	f.Var(setting.List(&e.slots), "egress-slot", "`LIST` only these places in a request, such as authorization,header:X-Key,query:key (default: headers that usually contain credentials)")
	if !whole {
		return
	}
	f.Var(setting.Word(&e.service).Suggest(service.Names()...), "for", "`API` set the rule and the form of keys of a well-known API:  "+strings.Join(someServices, ", ")+" and others")
	f.Var(setting.Text(&e.prefix), "egress-prefix", "`TEXT` prefix of placeholders, such as sk-, for clients that check the form of keys")
	f.IntVar(&e.length, "egress-length", 0, "`N` length of placeholders, including the prefix (default: the shortest with 128 random bits)")
	f.Lookup("egress-length").DefValue = "" // 0 is no length
	f.Var(setting.Text(&e.alphabet), "egress-alphabet", "`TEXT` characters of the random part of placeholders (default: A-Za-z0-9)")
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
		Long: `Replaces the egress rule of a secret, which says where a broker may send its value. The flags are the
whole rule; the value does not change. If the form of placeholders changes, sandboxes get new ones.
The key needs the permissions secrets:write and bindings:write.`,
		Example: `  miosa-env secrets egress openai --for openai
  miosa-env secrets egress billing --egress-host api.example.com --egress-slot header:X-Key
  miosa-env secrets egress old --none`,
		Args:     oneArgument("the secret's id or name"),
		Complete: cli.First(completeWords(p, secretIDs)),
		Flags: func(f *pflag.FlagSet) {
			flags.addFlags(f, true)
			f.BoolVar(&none, "none", false, "remove the rule: a broker sends the value nowhere")
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
		if err == nil {
			warnOfBoundValues(ctx, p, vault, &changed, func(*api.Binding) bool { return true })
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

// warnOfBoundValues logs a warning for each binding of a secret with a rule that delivers the value itself and that which selects. A vault
// that doesn't list them, for example because the key may not, causes no error.
func warnOfBoundValues(ctx context.Context, p *program.Program, vault *secrets.Client, s *api.Secret, which func(*api.Binding) bool) {
	if s.ID == "" || s.Egress == nil || s.Egress.IsZero() {
		return
	}
	list, _ := vault.ListBindings(ctx, secrets.BindingFilter{SecretID: s.ID})
	for i := range list {
		if b := &list[i]; b.Delivery == api.DeliverValue && which(b) {
			p.Log.Warn().Str("secret", s.Name).Stringer("binding", targetOf(b)).Str("id", b.ID).
				Str("hint", "delete it, and create it with --delivery placeholder").Msg("this binding delivers the value itself, although there is a rule for a broker")
		}
	}
}

// noEffect returns what a binding's rule allows in vain, since the secret's rule doesn't allow it too. Paths
// aren't compared, nor are slots with those of a rule that names none. Ports, methods and slots that the binding's leaves out are the
// secret's.
func noEffect(rule, narrow *api.EgressRule) api.EgressRule {
	without := func(wide, list []string, meet func(a, b string) bool) (vain []string) {
		for _, item := range list {
			if !slices.ContainsFunc(wide, func(other string) bool { return meet(item, other) }) {
				vain = append(vain, item)
			}
		}
		return vain
	}
	vain := api.EgressRule{Hosts: without(rule.Hosts, narrow.Hosts, hostsMeet)}
	if len(rule.Methods) > 0 {
		vain.Methods = without(rule.Methods, narrow.Methods, strings.EqualFold)
	}
	if len(rule.Slots) > 0 {
		vain.Slots = without(rule.Slots, narrow.Slots, strings.EqualFold)
	}
	for _, port := range narrow.Ports {
		if !slices.Contains(portsOf(rule), port) {
			vain.Ports = append(vain.Ports, port)
		}
	}
	return vain
}

// hostsMeet reports whether two hosts of rules, such as api.example.com and *.example.com, have a host in common.
func hostsMeet(a, b string) bool {
	covers := func(wide, host string) bool {
		domain, ok := strings.CutPrefix(wide, "*")
		return ok && strings.HasSuffix(host, domain)
	}
	return a == b || covers(a, b) || covers(b, a)
}

// portsOf returns the ports of a rule.
func portsOf(r *api.EgressRule) []int {
	if len(r.Ports) == 0 {
		return []int{443}
	}
	return r.Ports
}

// warnOfNoEffect logs a warning for each field of a binding's rule that allows something that the secret's rule doesn't: a broker sends
// nothing there.
func warnOfNoEffect(p *program.Program, s *api.Secret, narrow *api.EgressRule) {
	if s.Egress == nil || s.Egress.IsZero() || narrow == nil {
		return
	}
	vain := noEffect(s.Egress, narrow)
	for _, field := range []struct {
		name       string
		vain, rule []string
	}{
		{"hosts", vain.Hosts, s.Egress.Hosts},
		{"ports", texts(vain.Ports), texts(portsOf(s.Egress))},
		{"methods", vain.Methods, s.Egress.Methods},
		{"slots", vain.Slots, s.Egress.Slots},
	} {
		if len(field.vain) > 0 {
			p.Log.Warn().Str("secret", s.Name).Strs(field.name, field.vain).Strs("secret_has", field.rule).
				Msg("the binding's rule allows what the secret's doesn't: miosa-egress sends nothing there")
		}
	}
}

func texts(numbers []int) []string {
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(n)
	}
	return list
}

// narrowed returns what is left of a binding's rule under the secret's, which may be nil, and why if nothing is.
func narrowed(rule, narrow *api.EgressRule) (left api.EgressRule, why string) {
	left = *narrow
	if rule == nil || rule.IsZero() {
		return left, ""
	}
	vain := noEffect(rule, narrow)
	left.Hosts = slices.DeleteFunc(slices.Clone(left.Hosts), func(host string) bool { return slices.Contains(vain.Hosts, host) })
	for _, field := range []struct {
		what    string
		all, no []string
	}{
		{"", narrow.Hosts, vain.Hosts},
		{"port ", texts(narrow.Ports), texts(vain.Ports)},
		{"method ", narrow.Methods, vain.Methods},
		{"", narrow.Slots, vain.Slots},
	} {
		if len(field.no) > 0 && len(field.no) == len(field.all) {
			return left, "the secret's rule doesn't have " + field.what + few(field.no)
		}
	}
	return left, ""
}

// describeNarrowed returns where a broker may send a secret for a binding with its own rule, for people.
func describeNarrowed(rule, narrow *api.EgressRule) string {
	left, why := narrowed(rule, narrow)
	if why != "" {
		return "nowhere: " + why
	}
	return "only to " + describeRule(&left)
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
	add("ports", texts(r.Ports))
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

// rulesOf returns the rules of the secrets of bindings that narrow them, by id. Those that the vault doesn't return are missing.
func rulesOf(ctx context.Context, vault *secrets.Client, bindings []api.Binding) map[string]*api.EgressRule {
	if !slices.ContainsFunc(bindings, func(b api.Binding) bool { return b.Egress != nil }) {
		return nil
	}
	list, _ := vault.List(ctx, secrets.Filter{})
	rules := make(map[string]*api.EgressRule, len(list))
	for i := range list {
		rules[list[i].ID] = list[i].Egress
	}
	return rules
}

// narrowedHosts returns the hosts of a binding's rule that the secret's allows, for a list; "" for a binding without a rule.
func narrowedHosts(b *api.Binding, rule *api.EgressRule) string {
	if b.Egress == nil {
		return ""
	}
	left, why := narrowed(rule, b.Egress)
	if why != "" {
		return "nowhere"
	}
	return ruleHosts(&left)
}

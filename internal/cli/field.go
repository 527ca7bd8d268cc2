package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// fieldNames are what commands call the fields that errors of the vault name. The last word is a flag, or an argument as in
// Command.Use. A field that isn't here reads like a word for what was typed, such as name and value. It is no map, which would
// be allocated at each start.
var fieldNames = []fieldName{
	{"action", []string{"--action"}},
	{"delivery", []string{"--delivery"}},
	{"expires_at", []string{"--expires"}},
	{"expose_as_env", []string{"the variable of --bind", "the variable of RESOURCE=NAME"}},
	{"external_user_id", []string{"--external-user"}},
	{"external_workspace_id", []string{"--external-workspace"}},
	{"grace_seconds", []string{"--grace"}},
	{"host", []string{"--host", "HOST"}},
	{"issued_before", []string{"--issued-before"}},
	{"key_id", []string{"--key-id"}},
	{"label", []string{"--label"}},
	{"limit", []string{"--limit"}},
	{"metadata", []string{"--metadata"}},
	{"methods", []string{"--method"}},
	{"note", []string{"--note"}},
	{"owner_user_id", []string{"--owner-user"}},
	{"path_glob", []string{"--path"}},
	{"permissions", []string{"--permissions"}},
	{"resource_id", []string{"--resource", "--bind", "RESOURCE", "RESOURCE=NAME"}},
	{"resource_type", []string{"--resource", "--bind", "RESOURCE", "RESOURCE=NAME"}},
	{"resources", []string{"--only-resources", "--resource"}},
	{"scope", []string{"--scope"}},
	{"scopes", []string{"--only-scopes"}},
	{"secret_id", []string{"--secret", "--secret-id", "SECRET"}},
	{"since", []string{"--since"}},
	{"type", []string{"--type"}},
	{"until", []string{"--until"}},
	{"workspace_id", []string{"--workspace"}},

	{"egress.hosts", []string{"--egress-host"}},
	{"egress.methods", []string{"--egress-method"}},
	{"egress.paths", []string{"--egress-path"}},
	{"egress.ports", []string{"--egress-port"}},
	{"egress.slots", []string{"--egress-slot"}},
	{"egress.shape.alphabet", []string{"--egress-alphabet"}},
	{"egress.shape.length", []string{"--egress-length"}},
	{"egress.shape.prefix", []string{"--egress-prefix"}},
}

type fieldName struct {
	field string
	names []string
}

// renamed is an error with another text.
type renamed struct {
	error
	text string
}

func (r renamed) Error() string { return r.text }
func (r renamed) Unwrap() error { return r.error }

// NameFields returns err with the command's flags and arguments instead of the fields in errors of the vault: the user has typed
// no field. Fields that the command has no flag for stay.
func (inv *Invocation) NameFields(err error) error {
	if problems := Problems(err); len(problems) > 1 {
		for i, problem := range problems {
			problems[i] = inv.NameFields(problem)
		}
		return errors.Join(problems...)
	}
	refused, ok := errors.AsType[*api.Error](err)
	if !ok {
		return err
	}
	text := strings.Replace(err.Error(), refused.Message, inv.nameFields(refused.Message), 1)
	if text == err.Error() {
		return err
	}
	return renamed{err, text}
}

// nameFields replaces the fields of a message. A field that is also an English word counts only where it begins the message.
func (inv *Invocation) nameFields(message string) string {
	words := strings.Split(message, " ")
	for i, word := range words {
		field := strings.TrimRight(word, ":,;")
		if name := inv.nameOf(field); name != "" && (i == 0 || strings.ContainsAny(field, "_.")) {
			words[i] = name + word[len(field):]
		}
	}
	return strings.Join(words, " ")
}

// nameOf returns the flag that was given for a field, else the argument, else a flag that could have been; "" if there is none.
func (inv *Invocation) nameOf(field string) (name string) {
	arguments := strings.FieldsFunc(inv.command.Use, func(r rune) bool { return strings.ContainsRune(" |[]", r) })
	at := slices.IndexFunc(fieldNames, func(f fieldName) bool { return f.field == field })
	if at < 0 {
		return ""
	}
	for _, candidate := range fieldNames[at].names {
		last := candidate[strings.LastIndexByte(candidate, ' ')+1:]
		long, isFlag := strings.CutPrefix(last, "--")
		switch {
		case isFlag && inv.Flags.Changed(long):
			return candidate
		case !isFlag && slices.Contains(arguments, last):
			name = candidate
		case isFlag && name == "" && inv.Flags.Lookup(long) != nil:
			name = candidate
		}
	}
	return name
}

package dotenv

// Exported for tests.
const (
	NPM      = npm
	Compose  = compose
	Godotenv = godotenv
	Shell    = shell
)

var Parse = parse

// Rules returns all rules of Differences, as "READER: WHY".
func Rules() []string {
	var all []string
	for _, r := range rules {
		for reader, differ := range map[string]func(assignment) bool{NPM: r.npm, Compose: r.compose, Godotenv: r.godotenv, Shell: r.shell} {
			if differ != nil {
				all = append(all, reader+": "+r.why)
			}
		}
	}
	return all
}

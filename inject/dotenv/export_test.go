package dotenv

// What the tests use besides the exported API.
const (
	NPM      = npm
	Compose  = compose
	Godotenv = godotenv
	Shell    = shell
)

var Parse = parse

// Rules lists what Differences may say, as "READER: WHY".
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

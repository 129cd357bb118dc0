package driver

// Finding is one thing that an engine found when it looked at its server.
type Finding struct {
	Result Result
	What   string // what was looked at: "memory"
	Value  string // how it is, in one line
	Advice string // what can be done, "" when nothing has to be
}

// Result says what a finding means.
type Result string

// The results of a finding.
const (
	Good  Result = "ok"
	Noted Result = "note"  // worth knowing, and maybe meant
	Wrong Result = "wrong" // something is lost, or stands still
)

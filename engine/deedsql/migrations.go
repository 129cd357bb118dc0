package deedsql

import (
	"strings"

	"github.com/deedgo/deed/sqldb"
)

// component is the name that the tables' version is kept under.
const component = "engine"

// Migrations returns the tables that the database of a URL needs as an SQL script, for
// whoever may create them; Open then creates nothing. It opens nothing itself.
func Migrations(url string) (string, error) {
	if strings.HasPrefix(url, "sqlite:") {
		_, err := sqlitePath(url)
		return sqldb.Script(component, sqliteMigrations), err
	}
	if strings.HasPrefix(url, "mysql:") {
		_, err := parseMySQL(url)
		return sqldb.MySQLScript(component, mysqlMigrations), err
	}
	p, err := parsePostgres(url)
	if err != nil {
		return "", err
	}
	return sqldb.PostgresScript(component, postgresMigrations, p.schema), nil
}

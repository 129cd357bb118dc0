// Package deed is event-driven architecture for services: a service announces what
// happened, whoever cares responds, nothing is lost and nothing is done twice.
package deed

package driverkit

import (
	"context"
	"errors"

	"github.com/deedgo/deed/driver"
)

// Describe asks for the topics of these names, as [driver.Topics] lists them: without those
// that were deleted meanwhile, and those that cannot be read by name and damage.
func Describe(ctx context.Context, c driver.Topics, names []string) ([]driver.TopicInfo, error) {
	infos := make([]driver.TopicInfo, 0, len(names))
	for _, name := range names {
		info, err := c.Topic(ctx, name)
		switch {
		case errors.Is(err, driver.ErrNotFound):
		case errors.Is(err, driver.ErrRefused):
			infos = append(infos, driver.TopicInfo{Name: name, Damage: err.Error()})
		case err != nil:
			return nil, err
		default:
			infos = append(infos, info)
		}
	}
	return infos, nil
}

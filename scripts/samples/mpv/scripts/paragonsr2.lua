-- For mpv, in ~~/scripts/. Upscales what is smaller than the display and no larger than max_pixels; a key switches it off and on.
local options = {
    key = "Ctrl+u",
    enabled = true,
    max_pixels = 2560 * 1440,
    filter = "vapoursynth=~~/vapoursynth/paragonsr2.vpy",
}
require("mp.options").read_options(options, "paragonsr2")

local there = false

local function update()
    local width, height = mp.get_property_number("width", 0), mp.get_property_number("height", 0)
    local columns, rows = mp.get_property_number("display-width", 0), mp.get_property_number("display-height", 0)
    local small = width > 0 and width < columns and height < rows and width * height <= options.max_pixels
    local wanted = options.enabled and small
    if wanted ~= there then
        mp.commandv("vf", wanted and "add" or "remove", "@paragonsr2" .. (wanted and ":" .. options.filter or ""))
        there = wanted
    end
end

-- Before the window is there nobody knows the display's size: the filter comes when it is known.
for _, name in ipairs({"width", "height", "display-width", "display-height"}) do
    mp.observe_property(name, "native", update)
end

mp.add_key_binding(options.key, "toggle", function()
    options.enabled = not options.enabled
    update()
    mp.osd_message("Upscaling " .. (options.enabled and (there and "on" or "on, for smaller pictures") or "off"))
end)

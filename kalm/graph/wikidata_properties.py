"""English labels of the properties that most triples of Wikidata have; other properties keep their ids."""

_TABLE = """
P6 head of government
P17 country
P19 place of birth
P20 place of death
P21 sex or gender
P22 father
P25 mother
P26 spouse
P27 country of citizenship
P30 continent
P31 instance of
P35 head of state
P36 capital
P37 official language
P38 currency
P39 position held
P40 child
P47 shares border with
P50 author
P53 family
P54 member of sports team
P57 director
P58 screenwriter
P59 constellation
P61 discoverer or inventor
P69 educated at
P81 connecting line
P84 architect
P86 composer
P88 commissioned by
P101 field of work
P102 member of political party
P103 native language
P105 taxon rank
P106 occupation
P108 employer
P110 illustrator
P112 founded by
P113 airline hub
P114 airline alliance
P115 home venue
P118 league
P119 place of burial
P121 item operated
P123 publisher
P126 maintained by
P127 owned by
P131 located in the administrative territorial entity
P134 has dialect
P135 movement
P136 genre
P137 operator
P138 named after
P140 religion
P144 based on
P149 architectural style
P150 contains the administrative territorial entity
P155 follows
P156 followed by
P157 killed by
P159 headquarters location
P161 cast member
P162 producer
P166 award received
P169 chief executive officer
P170 creator
P171 parent taxon
P172 ethnic group
P175 performer
P176 manufacturer
P177 crosses
P178 developer
P179 part of the series
P180 depicts
P186 made from material
P190 twinned administrative body
P194 legislative body
P195 collection
P197 adjacent station
P200 lake inflows
P201 lake outflow
P205 basin country
P206 located in or next to body of water
P264 record label
P272 production company
P276 location
P277 programmed in
P279 subclass of
P282 writing system
P286 head coach
P287 designed by
P289 vessel class
P306 operating system
P344 director of photography
P355 has subsidiary
P361 part of
P364 original language of film or TV show
P366 has use
P397 parent astronomical body
P400 platform
P403 mouth of the watercourse
P404 game mode
P407 language of work or name
P408 software engine
P410 military rank
P412 voice type
P413 position played on team
P421 located in time zone
P449 original broadcaster
P450 astronaut mission
P451 unmarried partner
P452 industry
P457 foundational text
P460 said to be the same as
P461 opposite of
P462 color
P463 member of
P466 occupant
P485 archives at
P488 chairperson
P495 country of origin
P509 cause of death
P511 honorific prefix
P512 academic degree
P527 has part
P530 diplomatic relation
P541 office contested
P551 residence
P607 conflict
P608 exhibition history
P609 terminus location
P610 highest point
P641 sport
P647 drafted by
P655 translator
P664 organizer
P669 located on street
P674 characters
P676 lyricist
P706 located in or on physical feature
P710 participant
P725 voice actor
P734 family name
P735 given name
P737 influenced by
P740 location of formation
P749 parent organization
P750 distributed by
P780 symptoms and signs
P793 significant event
P800 notable work
P802 student
P807 separated from
P825 dedicated to
P840 narrative location
P859 sponsor
P870 instrumentation
P910 topic's main category
P915 filming location
P921 main subject
P931 place served by transport hub
P937 work location
P941 inspired by
P942 theme music
P974 tributary
P991 successful candidate
P1001 applies to jurisdiction
P1027 conferred by
P1029 crew member
P1037 director or manager
P1038 relative
P1040 film editor
P1050 medical condition
P1056 product or material produced
P1064 track gauge
P1066 student of
P1071 location of creation
P1142 political ideology
P1196 manner of death
P1303 instrument
P1304 central bank
P1313 office held by head of government
P1344 participant in
P1346 winner
P1365 replaces
P1366 replaced by
P1376 capital of
P1387 political alignment
P1408 licensed to broadcast to
P1411 nominated for
P1412 languages spoken, written or signed
P1431 executive producer
P1433 published in
P1435 heritage designation
P1441 present in work
P1454 legal form
P1532 country for sport
P1552 has characteristic
P1830 owner of
P1876 spacecraft
P1889 different from
P1923 participating team
P1995 health specialty
P2176 drug or therapy used for treatment
P2283 uses
P2341 indigenous to
P2348 time period
P2389 organization directed by the office or position
P2416 sports discipline competed in
P2500 league or competition level above
P2512 series spin-off
P2578 studies
P2632 place of detention
P2789 connects with
P3095 practiced by
P3373 sibling
P3450 sports season of league or competition
P3842 located in present-day administrative territorial entity
P3966 programming paradigm
P4552 mountain range
P5353 school district
P6087 coached by
P6379 has works in the collection
"""
PROPERTIES = dict(line.split(" ", 1) for line in _TABLE.strip().splitlines())

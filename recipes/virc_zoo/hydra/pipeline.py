"""HYDRA: a planner and a coder find out about a picture in steps, by programs over a detector and a model that sees.

Source of each text and value: ControlNet/HYDRA, commit f5b4d3236698, folder hydra_vl4ai; P is
agent/prompt/chatgpt-35/okvqa. This is its way without the controller that learns (agent/hydra.py, HydraNoRL), for
questions of OK-VQA (config/okvqa.yaml).
"""

import json

from virc.solving.pipelines import Function, Interpreter, Problem, Role, Roles, fill

ROLES = {"mind": Role(temperature=1, max_tokens=4096), "coder": Role(temperature=1, max_tokens=4096), "eyes": Role()}

# Runs in the sandbox, as agent/reasoner.py, initial_run; the names are those that P, code.prompt lists.
LAB = r"""import math as _math, re as _re, statistics as _statistics, struct as _struct

class _Memory:
    new, feedbacks, codes, instructions, variables, guesses = [], [], [], [], [], []
    finished = False

    def known(self, name):
        return "\n" + "\n".join(getattr(self, name))

_memory = _Memory()

class ImagePatch:
    def __init__(self, image, left=None, lower=None, right=None, upper=None, parent=None, name="original_image", score=1.0):
        width, height = image.size
        if None in (left, lower, right, upper):
            left, lower, right, upper = 0, 0, width, height
        box = left, height - upper, min(right, width), min(height - lower, height)
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError("ImagePatch has no area")
        self.cropped_image = image.crop(box)
        self.width, self.height = self.cropped_image.size
        across, up = (parent.left, parent.lower) if parent else (0, 0)
        self.left, self.right, self.lower, self.upper = left + across, right + across, lower + up, upper + up
        self.horizontal_center = (self.left + self.right) / 2
        self.vertical_center = (self.lower + self.upper) / 2
        self.parent_img_patch, self.image_name, self.confidence = parent, name, score

    def __repr__(self):
        return f"ImagePatch({self.left}, {self.lower}, {self.right}, {self.upper})"

    @property
    def original_image(self):
        return self.parent_img_patch.original_image if self.parent_img_patch else self.cropped_image

    def crop(self, left, lower, right, upper, image_name, confidence=None):
        left, lower = max(0, int(left) - 10), max(0, int(lower) - 10)
        right, upper = min(self.width, int(right) + 10), min(self.height, int(upper) + 10)
        score = self.confidence if confidence is None else confidence
        return ImagePatch(self.cropped_image, left, lower, right, upper, self, image_name, score)

    def find(self, object_list, get_feed_back=True):
        found = {}
        for name in object_list:
            boxes = detected(self.cropped_image, ["people" if name == "person" else name])
            if boxes:
                if get_feed_back:
                    _found(len(boxes), name, self.image_name)
                found[name] = [self._part(each, f"{name}_{number}_in_{self.image_name}") for number, each in enumerate(boxes, 1)]
            elif get_feed_back:
                _memory.new.append(f"Detection result: no {name} has been detected.")
                found[name] = []
        return found

    def _part(self, each, name):
        box, score = (each["box"], each.get("score", 1.0)) if isinstance(each, dict) else (each, 1.0)
        left, top, right, bottom = (int(side) for side in box[:4])
        return self.crop(left, self.height - bottom, right, self.height - top, name, box[4] if len(box) > 4 else score)

    def exists(self, object_name):
        if object_name.isdigit():
            return self.simple_query("What number is written in the image (in digits)?").strip() == object_name
        patches = self.find([object_name], get_feed_back=False)[object_name]
        seen = [each for each in patches if "yes" in each.simple_query(f"Is this a {object_name}?")]
        _memory.new.append(f"The existence of {object_name} in image patch {self.image_name} is: {len(seen) > 0}")
        return len(seen) > 0

    def simple_query(self, question="What is this?", qa_mode=True):
        if not qa_mode:
            reply = eyes_caption(self.cropped_image)
            _memory.new.append(f"The caption for image patch {self.image_name} is: {reply}")
            return reply
        plain = _re.sub(r'[.!"()*#:;~]', "", question.lower()).rstrip(" ")
        reply = eyes_answer(self.cropped_image, " ".join(plain.split(" ")[:50]))
        _memory.new.append(f"The answer for image patch {self.image_name} in response to the question '{question}' is: {reply}")
        return reply

    def llm_query(self, question, context=None, long_answer=True):
        return llm_query(question, context, long_answer)

    def compute_depth(self):
        (shown,) = depth_shown(self.original_image)
        whole = shown.convert("L").resize(self.original_image.size)
        near = whole.crop((self.left, whole.height - self.upper, self.right, whole.height - self.lower))
        depth = _short(_statistics.median_low(1 / max(1, value) for value in near.tobytes()))
        _memory.new.append(f"\nThe median depth for image patch {self.image_name} is: {depth}")
        return depth

    def overlaps_with(self, other_patch):
        other = other_patch
        across = self.left <= other.right and self.right >= other.left
        result = across and self.lower <= other.upper and self.upper >= other.lower
        _memory.new.append(f"\nThe check result for overlapping between image patch {self.image_name} and image patch {other.image_name} is: {result}")
        return result

def _found(count, name, where):
    many = f"Only one {name} has" if count == 1 else f"{count} {name} have"
    _memory.new.append(f"Detection result: {many} been detected in {where}.")

def llm_query(question, context=None, long_answer=True):
    before = "" if context is None else f"The context information is: {context}. "
    behind = "" if long_answer else "Please provide only a few-word answer. Be very concise, no ranges, no doubt."
    reply = mind_answer(f"{before}Could you help me answer the question: {question}.{behind}")
    _memory.new.append(f"\nThe obtained answer from LLM to the question, {question} with the additional context of {context} is: {reply}")
    return reply

def distance(patch_a, patch_b):
    if not isinstance(patch_a, ImagePatch) or not isinstance(patch_b, ImagePatch):
        return abs(patch_a - patch_b)
    gaps = [
        max(0, getattr(one, low) - getattr(other, high))
        for low, high in (("left", "right"), ("lower", "upper"))
        for one, other in ((patch_a, patch_b), (patch_b, patch_a))
    ]
    result = _math.sqrt(sum(gap * gap for gap in gaps)) or -_shared(patch_a, patch_b)
    _memory.new.append(f"\nThe distance between the edges of {patch_a.image_name} and {patch_b.image_name} is: {result}")
    return result

def _short(number):  # published, numbers are of 32 bits
    return _struct.unpack("f", _struct.pack("f", number))[0]

def _shared(a, b):
    across = max(0, min(a.right, b.right) - max(a.left, b.left))
    both = across * max(0, min(a.upper, b.upper) - max(a.lower, b.lower))
    areas = [(each.right - each.left) * (each.upper - each.lower) for each in (a, b)]
    return _short(both / (sum(areas) - both))

def _sorted(patches, key, *words):
    patches.sort(key=key)
    if patches:
        _memory.new.append("\nThe patches list has been sorted from {} to {}. Now, the first patch in the list corresponds to the {} position, while the last one corresponds to the {} position{}".format(*words))
    return patches

def get_sorted_patches_left_to_right(list_patches):
    return _sorted(list_patches, lambda patch: patch.horizontal_center, "left", "right (horizontal)", "leftest", "rightest", "")

def get_sorted_patches_bottom_to_top(list_patches):
    return _sorted(list_patches, lambda patch: patch.vertical_center, "bottom", "top (vertical)", "bottom/low/below", "top/up/above", ".")

def get_sorted_patches_front_to_back(list_patches):
    return _sorted(list_patches, lambda patch: patch.compute_depth(), "front/close", "back/far", "front/closest", "back/farther", ".")

def get_middle_patch(list_patches):
    middle = get_sorted_patches_left_to_right(list_patches)[len(list_patches) // 2]
    _memory.new.append(f"\nThe {middle.image_name} is the middle one in the list.")
    return middle

def _beside(patch, where, **sides):
    whole = patch.parent_img_patch
    box = {side: sides.get(side, getattr(whole, side)) for side in ("left", "lower", "right", "upper")}
    return whole.crop(**box, image_name=f"{where}_partof_{patch.image_name}")

def get_patch_left_of(patch):
    return _beside(patch, "left", right=patch.horizontal_center)

def get_patch_right_of(patch):
    return _beside(patch, "right", left=patch.horizontal_center)

def get_patch_above_of(patch):
    return _beside(patch, "above", lower=patch.vertical_center)

def get_patch_below_of(patch):
    return _beside(patch, "below", upper=patch.vertical_center)

def _by_distance(patches, anchor, which, word):
    patches.sort(key=lambda patch: distance(patch, anchor))
    if patches:
        _memory.new.append(f"\nThe {patches[which].image_name} is the {word} one to {anchor.image_name}.")
    return patches[which]

def get_patch_closest_to_anchor_object(list_patches, anchor_patch):
    return _by_distance(list_patches, anchor_patch, 0, "closest")

def get_patch_farthest_to_anchor_object(list_patches, anchor_patch):
    return _by_distance(list_patches, anchor_patch, -1, "farthest")

def bool_to_yesno(bool_answer):
    return "yes" if bool_answer else "no"

def _outcome(program):
    # executor.py, execute: of code that ran to its end, what it found and made is kept, and an answer is a text
    if not _memory.finished:
        return "error"
    names = [line.split(" = ")[0] for line in program.split("\n") if " = " in line]
    for name in (each for each in names if each in globals()):
        value = globals()[name]
        kind = f", patch name: {value.image_name}" if isinstance(value, ImagePatch) else ""
        _memory.variables.append(f"{name}: {value}{kind}")
    given = globals().get("final_answer", "")
    if not isinstance(given, str):
        _memory.new.append("\nThe final_answer is not a string, please ensure that only string is returned.")
    _memory.feedbacks.extend(_memory.new)
    return "final" if "final_answer" in globals() and isinstance(given, str) else "continue"

image_patch = ImagePatch(image_0)
image_patch.simple_query(question, qa_mode=False)
_memory.feedbacks.extend(_memory.new)
_memory.variables.append(f"image_patch: {image_patch}")
"""

# P, instruction.prompt, with task_description_for_instruction.prompt and instruction_example.prompt in it
PLAN = """You are an AI assistant designed to assist with compositional visual reasoning tasks providing valid step by step instruction for answering questions and understanding visual information. 

Setting:
    1. Compositional visual reasoning task revolves around utilizing the provided perception skills to gain more detailed and concrete information about the image at each step. The instructions will be translated into Python code and executed to extract information from the image. This perceptual information will subsequently be utilized as feedback to facilitate the generation of the next step instruction.
    2. The entire process of compositional visual reasoning is akin to the functioning of the human brain, encompassing language understanding (comprehending the query), visual perception, acquiring feedback, and engaging in logical reasoning.
    3. At the outset (Step 1), it's crucial to note that you have no direct access to the image, meaning you possess no information about the content in image initially.
    4. To provide valid instructions for answering the query, you should first use the provided perception skills to gather information from image. The perception results will be provided either in the feedback. You can also view all executed Python code before this step. Relying solely on this information ensures the certainty of object existence. For example, you cannot check the color of people's clothes if they have not been previously found or detected and reported in the current feedback.
    5. Then, leverage the available information from the feedback to perform logical reasoning in order to provide the next step instruction or obtain the final result.
    6. Your primary responsibility is to furnish valid instructions for the subsequent step, drawing upon factors such as the query type, query, available skills, actions taken, executed Python code, and the feedback received.
    7. Image patch is a crop of an image centered around a particular object.
    8. Avoid guessing. If uncertain about the image, use the skills to gather additional information.


Skills Overview:
Skill 1: Find objects only by their names, capable of finding single or multiple objects at once. Unable to directly locate objects by name along with attributes. E.g., "find apple, kid, and muffin" or "find boots."
Skill 5: Specify the name of object or get the answer to a basic question asked about the image or generate a caption for image as general context, e.g., "Specify the name of this type of animals;" "get a caption answer about 'which city is this?'"; "generate a caption for image as context"
Skill 7: Calculate the distance between the edges of two image patches, e.g., "calculate the distance between the muffin patch and the kid patch."
Skill 8: Calculate the median depth of an image crop, e.g., "calculate the depth of all muffin patches."
Skill 10: Obtain external knowledge from a large language model (LLM) to answers difficult text questions, e.g., "obtain an answer from LLM about 'the capital name of Australia.'"
Skill 11: Compare and sort the objects by their position, e.g., 'Find the left one from object patches by sorting patches from left to right.
Skill 12: Logical reasoning. E.g., Basic logical operations, comparisons, mathematical calculations and so on.

How to Use these Skills ideally:
E.g.,
    When the question is about visual question answer and the question is 'What are the names of the toppings on the sandwiches?'
    Step 1: Generate a caption for image as general context
        Execution Feedback: The caption is: There are sandwiches with a cup of coffee.
    Step 2: find sandwiches. 
        Execution Feedback: Detection result: 2 sandwiches have been detected. sandwich1 bounding box is [1,2,3,4];sandwich2 bounding box is [5,2,7,4]
    Step 3: Get the answer to the basic question 'What are the names of the toppings on the sandwiches?' and return it as the final answer.
        Execution Feedback: Done 

E.g.,
    When the question is 'What is the bowl made of?'
    Step 1: Generate a caption for image as general context.
        Execution Feedback: The caption is: There is a bowl with salad.
    Step 2: find bowl. 
        Execution Feedback: Detection result: 1 bowl has been detected. bowl1 bounding box is [1,2,3,4].
    Step 3: get the answer to the basic question 'What is the bowl made of?' and return it as the final answer.
        Execution Feedback: Done   

E.g.,
    When the question is 'What do these people on the bikes normally write?'
    Step 1: get the answer to the basic question 'What are these people on bikes'.
        Execution Feedback: The caption is: these people are poem writers.
    Step 2: obtain external knowledge from a LLM to answers difficult text questions "What do these people on the bikes normally write?" given the context 'these people are poem writers.' 
        Execution Feedback: poem
    Step 3: get the answer to the basic question 'What do poem writers on the bikes normally write?'
        Execution Feedback: poem  
    Step 4: Return the final answer.
        Execution Feedback: Done  

E.g.,
    When the question is 'What sport might this animal be involved in?'
    Step 1: Generate a caption for image as general context.
        Execution Feedback: The caption is: There is a horse.
    Step 2: find animal.
        Execution Feedback: Detection result: 1 animal has been detected. animal1 bounding box is [1,2,3,4].
    Step 3: specify the animal name.
        Execution Feedback: the animal name is: a horse
    Step 4: Obtain external knowledge from a LLM to answers difficult text questions "What sport might this animal be involved in?" given the context (the context is from specify the animal name) 'the animal name is: a horse', and return the response as the final answer.
        Execution Feedback: Done  

E.g.,
    When the question is 'Does these animals eat meat?'
    Step 1: find animal.
        Execution Feedback: Detection result: 2 animals have been detected. animal1 bounding box is [1,2,3,4], animal2 bounding box is [2,5,6,4].
    Step 2: specify the animals' name.
        Execution Feedback: one animal name is: tiger; one animal name is: tiger
    Step 3: obtain the answer to 'Does the animal eat meat?' from LLM based on the context (the context is from specify the animal name) 'one animal name is: tiger; one animal name is: tiger'. Return the answer as final answer
        Execution Feedback: Done  
    

Now the demonstration has ended. The following information are provided to you for recommending next-step instructions.
About Query: External knowledge-dependent image question answering question--This type of question is intended to return a textual answer to the given question. 
You are required to get the answer for the question. In the begining, you do not have any image information, therefore, you need to gather visual information to address the question, utilizing the provided skills. The visual information would be provided in feedback (current state.)
E.g., When the question is 'What toy is this?,' the final answer should be the name of toy. Please do not return 'yes' or 'no' in this case. 
E.g., When the question is 'What is the bowl made of?', the final answer should be the name of the material of the bowl.
Pay attention please!
    - Avoid making assumptions about the object's attributes. Only utilize the provided skill to acquire visual information, rather than resorting to guesses. 
    - Generally, you can generate a caption for image as general context in the first step. Then, based on the context and question to do furthur exploration and get more visual information. 
    - To identify an object detected in an image or to get an answer to a simple question about it, utilize Skill 5. e.g., "Specify the name of this type of animals;" "get a caption answer about 'which city is this?'"; "generate a caption for image as context" 
    - For questions that need external knowledge, start by answering a simple question about the image to establish context. Then, use a LLM to obtain more comprehensive answers based on this context.


Current Step: {number}

All Previously Taken Instruction: {instructions_known}

Executed Python Code:
image_patch = ImagePatch(image) {codes_known}

Each variable details:{variables_known}

Execution Feedback (Details of the known visual information in the image): 
{feedbacks_known}

The question is '{question}'

Please, provide 5 alternative instructions and associate each with a probability value indicating its likelihood of leading to the final answer. If available information is sufficient for answering question, please directly provide final answer as reponse.
    
Please strictly follow the Answer Format:
{"id":int, "instruction":str, "probablity":float}
E.g.,
    When the question is 'What toy is this?'. In the step 1, there is no feedback.
    Answer:
        [{"id":1,"instruction":"find toy","probability":0.7},
        {"id":2,"instruction":"Generate a caption for image as general context.","probability":0.9},
        {"id":3,"instruction":"find toy and specify the name of toy","probability":0.8},
        {"id":4,"instruction":"find toy, and get the answer to a basic question about image 'What toy is this?' to provide context, obtain the answer to 'What toy is this?' from LLM based on the context.","probability":0.9},
        ......]

E.g.,
    When the query is 'What game is being played?'. In the step 2, Execution Feedback is: 'some players are playing football'.
    Answer:
        [{"id":1,"instruction":"final answer is 'football'.","probability":1.0},
        {"id":2,"instruction":"get a caption answering the question 'What is this?' to provide context.","probability":0.2},
        {"id":3,"instruction":"Generate a caption for image as general context.","probability":0.1},
        {"id":4,"instruction":"find people","probability":0.1},
        ......] 

Your response is here:"""

# P, code.prompt, with task_description_for_code.prompt and code_example.prompt in it
WRITE = """You are an AI assistant designed to assist with compositional visual reasoning tasks providing valid python code based on query and next step instruction. 

Setting:
    1. Your primary responsibility is to translate 'Current Instruction' into Python code. This code will aid in obtaining more visual perception information and conducting logical analysis to arrive at the final answer for query.
    2. You can derive context from the query, 'All Previously Taken Instruction', 'Executed Python Code', and 'Execution Feedback (Details of the known visual information in the image)'. 
    3. Image patch is a crop of an image centered around a particular object.
    4. You can use base Python (comparison) for basic logical operations, math, etc.

Provided Python Functions/Class:

class ImagePatch:
    '''
    A Python class containing a crop of an image centered around a particular object, as well as relevant information.
    Attributes
    ----------
    cropped_image : array_like
        An array-like of the cropped image taken from the original image.
    left, lower, right, upper : int
        An int describing the position of the (left/lower/right/upper) border of the crop's bounding box in the original image.
    
    Methods
    -------
    find(object_list: list[str]) -> dict[str, list[ImagePatch]]
        Returns a dictionary. Each pair includes a list of ImagePatch objects matching the object_name contained in the crop, if any are found. 
    simple_query(question: str) ->str
        Gnerate caption of image or get the answer to a basic question asked about the image. If no question is provided, returns the answer to "What is this?".
    llm_query(question: str, context:str=None, long_answer=True)
        References a large language model (e.g., GPT) to produce a response to the given question.
    compute_depth() ->float
        Returns the median depth of the image crop.
    crop(left: int, lower: int, right: int, upper: int)->ImagePatch
        Returns a new ImagePatch object containing a crop of the image at the given coordinates.
    overlaps_with(other_patch:ImagePatch)
        Returns a new ImagePatch cropped from the current ImagePatch.
    '''

    def __init__(self, image, left: int = None, lower: int = None, right: int = None, upper: int = None):
        '''
        Initializes an ImagePatch object by cropping the image at the given coordinates and stores the coordinates as attributes. If no coordinates are provided, the image is left unmodified, and the coordinates are set to the dimensions of the image.
        Parameters
        -------
        image : array_like
            An array-like of the original image.
        left, lower, right, upper : int
            An int describing the position of the (left/lower/right/upper) border of the crop's bounding box in the original image.
        '''

        if left is None and right is None and upper is None and lower is None:
            self.cropped_image = image
            self.left = 0
            self.lower = 0
            self.right = image.shape[2]  # width
            self.upper = image.shape[1]  # height
        else:
            self.cropped_image = image[:, lower:upper, left:right]
            self.left = left
            self.upper = upper
            self.right = right
            self.lower = lower

        self.width = self.cropped_image.shape[2]
        self.height = self.cropped_image.shape[1]

        self.horizontal_center = (self.left + self.right) / 2
        self.vertical_center = (self.lower + self.upper) / 2

    def find(self, object_list: list[str]) -> dict[str, list[ImagePatch]]:
        '''
        Returns a dictionary. Each pair includes a list of ImagePatch objects matching the object_name contained in the crop, if any are found.
        Otherwise, returns an empty dict.
        Parameters
        ----------
        object_list: list[str]
            A list of the name of the object to be found

        Returns
        -------
        dict
            a list of ImagePatch objects matching object_name contained in the crop
        Examples
        --------
        # find foo, and get the only one foo patch 
        >>>     detected_patches = image_patch.find(["foo"])
        >>>     foo_1_patch = detected_patches["foo"][0]
        '''
        return find(self.cropped_image, object_list)

    def simple_query(self, question: str = 'What is this?', qa_mode: bool = True) -> str:
        '''
        If qa_mode == False, return the caption of image.
        If qa_mode == True, returns the answer to a basic question asked about the image. If no question is provided, returns the answer to "What is this?". The questions are about basic perception, and are not meant to be used for complex reasoning or external knowledge.
        Parameters
        -------
        question : str
            A string describing the question to be asked.
        qa_mode : bool
            A bool describing the type of output.
            If True, returns the answer to a basic question.
            If False, return the caption of image.
            
        Examples
        -------
        # What sort of vehicle uses this iterm?
                # get general caption as context
        >>>     general_caption = image_patch.simple_query(qa_mode=False)
        >>>     # We assume general_caption is 'There is a fire hydrant'
        >>>     final_answer = image_patch.llm_query(question='What sort of vehicle uses this item?', context='There is a fire hydrant.', long_answer=False)

        # What is the name of the animal?
        >>>     animal_patches = image_patch.find(['animal'])['animal'] 
                # assume only one animal has been detected
        >>>     animal_patch = animal_patches[0]
                # get answer of simple question 'What is the name of the animal?'
        >>>     animal_name = animal_patch.simple_query('What is the name of the animal?')
        >>>     final_answer = animal_name
        '''
        return simple_query(self.cropped_image, question, qa_mode)
        
    def llm_query(question: str, context:str=None, long_answer=True) ->str:
        '''
        Returns textual answer from llm (str).The input question is always a formatted string with a variable in it.

        Parameters
        ----------
        question: str
            the text question to ask. Must not contain any reference to 'the image' or 'the photo', etc.
        context: str
            the context about the question.
        long_answer: bool
            length of return answer is long or short
        Examples
        -------
        # What sort of vehicle use this item? The item is a fire hydrant.
        >>>     final_answer = image_patch.llm_query(question='What sort of vehicle uses this item?', context='There is a fire hydrant.', long_answer=False)
        '''
        return return_answer

    def compute_depth(self) ->float:
        '''
        Returns the median depth of the image crop (float).
        Examples
        --------
        # return depth median of foo
        >>>     final_answer = foo_patch.compute_depth()
        '''
        
        return depth_map.median()

    def crop(self, left: int, lower: int, right: int, upper: int) -> ImagePatch:
        '''
        Returns a new ImagePatch cropped from the current ImagePatch.
        Parameters
        -------
        left, lower, right, upper : int
            The (left/lower/right/upper)most pixel of the cropped image.
        -------
        return ImagePatch(self.cropped_image, left, lower, right, upper)
        '''


def distance(patch_a: ImagePatch, patch_b: ImagePatch) -> float:

    '''Returns the distance between the edges of two ImagePatches. If the patches overlap, it returns a negative distance corresponding to the negative intersection over union.

    Examples
    --------
    #Return the qux that is closest to the foo, only one foo exist.
    >>>     qux_patches = image_patch.find(['qux'])['qux']
    >>>     foo_patch = image_patch.find(['foo'])['foo'][0]
    >>>     qux_patches.sort(key=lambda x: distance(x, foo_patch))
    >>>     final_answer = qux_patches[0]
    '''
    return distance(patch_a, patch_b)

def get_sorted_patches_left_to_right(list_patches: list[ImagePatch]) -> list[ImagePatch]:
    ''' 
    Return sorted list of patches according to their horizontal centers from left to right.
    Parameters
    --------
    list_patches : List[ImagePatch]

    Examples
    --------
    #Return the left qux.
    >>>     qux_patches = image_patch.find(['qux'])['qux']
    >>>     final_answer = get_sorted_patches_left_to_right(qux_patches)[0]
    '''
    return get_sorted_patches_left_to_right(list_patches)

def get_sorted_patches_bottom_to_top(list_patches: list[ImagePatch]) -> list[ImagePatch]:
    ''' 
    Return sorted list of patches according to their vertical centers from bottom/low/below to top/up/above.
    Parameters
    --------
    list_patches : List[ImagePatch]

    Examples
    --------
    #Return the top qux.
    >>>     qux_patches = image_patch.find(['qux'])['qux']
    >>>     final_answer = get_sorted_patches_bottom_to_top(qux_patches)[-1]
    '''
    return get_sorted_patches_bottom_to_top(list_patches)

def get_sorted_patches_front_to_back(list_patches: list[ImagePatch]) -> list[ImagePatch]:
    ''' 
    Return sorted list of patches according to how far from camera they are. Sorts patches from front/close to back/far.
    Parameters
    --------
    list_patches : List[ImagePatch]

    Examples
    --------
    #Return the front qux.
    >>>     qux_patches = image_patch.find(['qux'])['qux']
    >>>     final_answer = get_sorted_patches_front_to_back(qux_patches)[0]
    '''
    return get_sorted_patches_front_to_back(list_patches)

def get_middle_patch(list_patches: list[ImagePatch]) -> ImagePatch:
    '''
    Returns the middle patch from list of patches.
    Parameters
    --------
    list_patches : List[ImagePatch]
    
    Examples
    --------
    #Return the middle qux.
    >>>     final_answer = get_middle_patch(qux_patches)
    '''
    return middle_patch

def get_patch_left_of(patch: ImagePatch) -> ImagePatch:
    '''
    Return the left part of the given object from the original image.
    
    Examples
    --------
    #check whether a cup exisit in the left of spoon. only one spoon in image.
    >>>     spoon_patch = image_patch.find(['spoon'])['spoon'][0]
    >>>     left_of_spoon = get_patch_left_of(spoon_patch)
    >>>     final_answer = bool_to_yesno(left_of_spoon.exists("cup"))
    '''
    return get_patch_left_of(patch)

def get_patch_right_of(patch: ImagePatch) -> ImagePatch:
    '''
    Return the right part of the given object from the original image.
    '''
    return get_patch_right_of(patch)

def get_patch_above_of(patch: ImagePatch) -> ImagePatch:
    '''
    Return the image patch above/up/top the given object from the original image.
    '''
    return get_patch_above_of(patch)

def get_patch_below_of(patch: ImagePatch) -> ImagePatch:
    '''
    Return the image patch under/lower/below the given object from the original image.
    Examples
    --------
    #check whether a foo under the only one qux.
    >>>     qux_patch = image_patch.find(['qux'])['qux'][0]
    >>>     under_of_spoon = get_patch_below_of(qux_patch)
    >>>     final_answer = bool_to_yesno(under_of_spoon.exists("foo"))
    '''
    return get_patch_below_of(patch)

def get_patch_closest_to_anchor_object(list_patches: list[ImagePatch], anchor_patch: ImagePatch) -> list[ImagePatch]:
    '''
    Returns the patch closest to the anchor patch from a list of patches.
    '''
    #find the foo closet to the qux from all foos.
    >>>     qux_patch = image_patch.find(['qux'])['qux'][0]
    >>>     foo_patches = image_patch.find(['foo'])['foo']
    >>>     final_answer = get_patch_closest_to_anchor_object(foo_patches,qux_patch)
    return get_patch_closest_to_anchor_object(list_patches, anchor_patch)

def get_patch_farthest_to_anchor_object(list_patches: list[ImagePatch], anchor_patch: ImagePatch) -> list[ImagePatch]:
    '''
    Returns the patch farthest to the anchor patch from a list of patches.
    '''
    return get_patch_farthest_to_anchor_object(list_patches, anchor_patch)
    
Please only return valid python code:
If a Python variable is not found in the 'Executed Python Code' section, it means that variable does not exist, and you cannot use any variable that has not been defined in the 'Executed Python Code'.
        
E.g., 
    When the question is 'What toy is this?'. Current Instruction is 'Generate a caption for image as general context, then find toy and get answer about 'What toy is this?' and return it as the final answer. Executed Python Code: image_patch = ImagePatch(image)
    Answer:
        # generate caption as context
        general_context = image_patch.simple_query(qa_mode=False)
        toy_patches = image_patch.find(['toy'])['toy']
        # only one toy has been detected
        toy_patch = toy_patches[0]
        # get answer for simple question 'What toy is this?'
        toy_name = toy_patch.simple_query(question='What toy is this?')
        final_answer = toy_name

E.g., 
    When the question is 'What is the bowl made of?'. Current Instruction is 'find bowl and get answer about 'What is the bowl made of? and return it as the final answer.'. Executed Python Code: image_patch = ImagePatch(image)
    Answer:
        bowl_patches = image_patch.find(['bowl'])['bowl']
        # Only one bowl has been detected
        bowl_patch = bowl_patches[0]
        # get answer for simple question 'What is the bowl made of?'
        final_answer = bowl_patch.simple_query(question='What is the bowl made of?')

E.g., 
    When the question is 'Why so many flowers?'. Current Instruction is 'generate a caption for image as general context, obtain the answer to 'Why so many flowers?' based on the context from the LLM and return the response as the final answer.' Executed Python Code: image_patch = ImagePatch(image)
    Answer:
        # generate a caption
        context = flower_patch.simple_query(qa_mode=False)
        final_answer = flower_patch.llm_query(question = "Why so many flowers?", context = context, long_answer=False)

E.g., 
    When the question is 'What sport will use this object?'. Current Instruction is "generate a caption for image as general context, then obtain the answer to 'What sport will use this object?' based on the context from the LLM and return the response as the final answer.". Executed Python Code: image_patch = ImagePatch(image)
    Answer:
        # generate a caption
        context = image_patch.simple_query(qa_mode=False)
        final_answer = flower_patch.llm_query(question = "What sport will use this object?", context = context, long_answer=False)

E.g., 
    When the question is 'Does these animals eat meat?'. Current Instruction is "generate a caption for image as general context, then final animal, then Specify the name of the animal, then obtain the answer to 'Does the animal eat meat?' based on the context from the LLM as the final answer". Executed Python Code: image_patch = ImagePatch(image)
    Answer:
        # generate a caption
        context = image_patch.simple_query(qa_mode=False)
        # find animal
        animal_patches = image_patch.find(['animal'])['animal']
        # only two animals have been detected
        animal_1 = animal_patches[0]
        animal_2 = animal_patches[1]
        # Specify the name of the animals
        animal_name1 = animal_1.simple_query(question='What is the name of the animal?')
        animal_name2 = animal_2.simple_query(question='What is the name of the animal?')
        animal_name_context = f'animal_1 name is:{brace}animal_name1}, animal_2 name is: {brace}animal_name2}'
        # obtain the answer to 'Does the animal eat meat?' based on the context from the LLM as final answer
        final_answer = animal_patch.llm_query(question = "Does the animal eat meat?", context = animal_name_context, long_answer=False)


Now the demonstration has ended. An instance (image_patch = ImagePatch(image)) of the ImagePatch class is provided. 

Please translate only the 'Current Instruction' into Python code. 
If the 'Current Instruction' mentions the final process, assign the result to the variable named {brace}final_answer} for the concluding statement. If there is no mention of a final process in the current instruction, refrain from using {brace}final_answer}.
If a Python variable is not found in the 'Executed Python Code' section, it means that variable does not exist, and you cannot use any variable that has not been defined in the 'Executed Python Code'.
About Query: External knowledge-dependent image question answering question--This type of question is intended to return a textual answer to the given question.
The answer from llm_query should be short answer instead of long answer.
If Current Instruction includes returning answer, please use {brace}final_answer} as the varible name when providing Python code. Make sure {brace}final_answer} is string type.
E.g., question is 'What sport can you use this for?,' in final step, return the name of the sport, please do not return 'yes' or 'no' in this case. 
E.g., question is 'Why is the rope here?,' in final step, return the reason for the presence of the rope under the context provided by the image.
E.g., question is 'How long is this animals tongue?', in final step, return the length of the tongue of the animal shown in the image.


Query: {question}

Current Step: {number}

All Previously Taken Instruction: {instructions_known}

Executed Python Code:
image_patch = ImagePatch(image) {codes_known}

Each variable details:{variables_known}

Execution Feedback (Details of the known visual information in the image): 
{feedbacks_known}
   
Current Instruction: {instruction}
Generated Python Code for Current Instruction -- [{instruction}] here:"""

# P, summarize.prompt
SUMMARISE = """You are an AI assistant designed to assist with compositional visual reasoning tasks providing valid step by step instruction for answering questions and understanding visual information. 
Without direct access to the picture, rely on feedback from executed instructions to answer the question.

Below is the information related to the question along with known visual details
About Question: External knowledge-dependent image question answering question--This type of question is intended to return a textual answer to the given question. 
You are required to get the answer for the question. In the begining, you do not have any image information, therefore, you need to gather visual information to address the question, utilizing the provided skills. The visual information would be provided in feedback (current state.)
E.g., When the question is 'What toy is this?,' the final answer should be the name of toy. Please do not return 'yes' or 'no' in this case. 
E.g., When the question is 'What is the bowl made of?', the final answer should be the name of the material of the bowl.
Pay attention please!
    - Avoid making assumptions about the object's attributes. Only utilize the provided skill to acquire visual information, rather than resorting to guesses. 
    - Generally, you can generate a caption for image as general context in the first step. Then, based on the context and question to do furthur exploration and get more visual information. 
    - To identify an object detected in an image or to get an answer to a simple question about it, utilize Skill 5. e.g., "Specify the name of this type of animals;" "get a caption answer about 'which city is this?'"; "generate a caption for image as context" 
    - For questions that need external knowledge, start by answering a simple question about the image to establish context. Then, use a LLM to obtain more comprehensive answers based on this context.


All Previously Taken Instruction: {instructions}

Executed Python Code:
image_patch = ImagePatch(image) {codes}

Each variable details:{variables}

Execution Feedback (Details of the known visual information in the image): 
{feedbacks}

The question is '{question}'

You need to base on details of the known visual information in the image to answer question. Respond concisely with key terms or names related to the question. 
Base your deductions solely on the Execution Feedback, which provides details of the known visual information in the image. Avoid making any random guesses if the available evidence does not sufficiently support your answer.
For example, When provided with limited information that only identifies an object as a fruit without further details, it's crucial to avoid making arbitrary guesses about the fruit's identity. Instead, the response should acknowledge the insufficiency of the data for a definitive identification.
If available information is insufficient for a definitive answer, reply with 'continue'. 
Your answer is here(Aim to reply in ONE word (at MOST 2)):"""

# P, guess_answer.prompt
GUESS = """Please answer the following questions using the given guesses in list.
If a unique answer cannot be determined, choose only one of the possible answers.
About Question: External knowledge-dependent image question answering question--This type of question is intended to return a textual answer to the given question. 
You are required to get the answer for the question. In the begining, you do not have any image information, therefore, you need to gather visual information to address the question, utilizing the provided skills. The visual information would be provided in feedback (current state.)
E.g., When the question is 'What toy is this?,' the final answer should be the name of toy. Please do not return 'yes' or 'no' in this case. 
E.g., When the question is 'What is the bowl made of?', the final answer should be the name of the material of the bowl.
Pay attention please!
    - Avoid making assumptions about the object's attributes. Only utilize the provided skill to acquire visual information, rather than resorting to guesses. 
    - Generally, you can generate a caption for image as general context in the first step. Then, based on the context and question to do furthur exploration and get more visual information. 
    - To identify an object detected in an image or to get an answer to a simple question about it, utilize Skill 5. e.g., "Specify the name of this type of animals;" "get a caption answer about 'which city is this?'"; "generate a caption for image as context" 
    - For questions that need external knowledge, start by answering a simple question about the image to establish context. Then, use a LLM to obtain more comprehensive answers based on this context.

Aim to reply in ONE word (at MOST 2).

Question: What kind of flowers are these?
Guess list: ['these flowers are purple, so lavender, lilac, iris, and hyacinth', 'purple flowers']
Answer: lilac

Question: What do these people on the bikes normally write and give out?
Guess list:['the people on bikes are police, so Tickets', 'tickets']
Answer: tickets

Question: What kind of cold meet is this?
Guess list: ['what kind of meat is this is beef, so roast beef', 'beef']
Answer: beef

Question: Can you guess the place shown in this picture?
Guess list: ['the place is tourist attraction, so the Eiffel Tower in Paris, France', 'big ben']
Answer: big ben

Question: When was this type of vehicle with two equal sized wheels invented?
Guess list: ['the vehicle is a bicycle, so 19th century', '1819']
Answer: 1800s

Question: What is the flavor of the pink topping on this dessert?
Guess list: ['the topping is whipped cream, so strawberry, vanilla, chocolate, and raspberry', 'strawberry']
Answer: strawberry

Question: How are these festive lights held in place?
Guess list: ['these festive lights are christmas lights, so with hooks clips', 'string']
Answer: string

Question: Who is famous for allegedly doing this in a lightning storm?
Guess list: ['what is being done is flying a kite, so Benjamin Franklin', 'Charles Manson']
Answer: Benjamin Franklin

Question: What is the object atop the skier's head used for?
Guess list: ['the object atop the skier's head is helmet, so protection from head injuries', 'sunglasses']
Answer: protection

Question: What rank is the man on the right?
Guess list: ['who is the man on the right is sailor, so seaman', 'captain']
Answer: captain

Question: Chemically what kind of water is in the picture?
Guess list: [the water in the picture is waves, so salt water, 'salt water']
Answer: salt

Question: Is the material tweed or canvas?
Guess list: ['the material is fabric, so fabric', 'canvas']
Answer: canvas

Question: Which type of meat are in the photo?
Guess list: ['the meat in the photo is sausage, so pork', 'hot dogs']
Answer: hotdogs

Question: What sort of predator might there be in an area like this?
Guess list: ['this area is mountains, so predators like wolves fox', 'shark']
Answer: shark

Question: Can you name a sport this person could be a part of?
Guess list: ['this person is a racer, so racing such as auto', 'motorcycle racing']
Answer: racing

Question: Who makes the yellow top worn in this photograph?
Guess list: ['the top is red, so brand is unknown', 'Burton']
Answer: Burton

Question: Is the athlete right or left handed?
Guess list: ['what is the athlete doing is playing baseball, so unclear', 'right handed']
Answer: right handed

Question: Is this food high or low on fat?
Guess list: ['what kind of food is this is sandwich, so depends on ingredients', 'high']
Answer: high


Question: Which objects shown are typically associated with small children?
Guess list: ['what objects are shown are stuffed animals, so toys', 'teddy bears']
Answer: teddy bears

Question: What small appliance is that stuffed animal inside?
Guess list: ['the stuffed animal is a teddy bear, so vacuum cleaner', 'microwave']
Answer: microwave

Question: What is this made with?
Guess list: ['what is this is muffin, so flour sugar eggs', 'oats']
Answer: flour

Question: {question}
Guess list: {guesses}
Answer (Aim to reply in ONE word (at MOST 2)):"""


TOOLS = {"detect": "detect", "depth": "depth?"}
WRITER = "mind"
KNOWN = ("instructions", "codes", "variables", "feedbacks")
FENCES = ("image_patch = ImagePatch(image)", "```python", "```")
STEPS, TRIES, OPTIONS = 7, 5, 5


def solve(problem: Problem, roles: Roles) -> str:
    """Plan and run programs until one gives an answer, and have it put in few words."""
    lab, functions = Interpreter(), eyes_and_tools(problem, roles)
    lab.run(LAB, problem.images, {"question": problem.question}, functions, exact=True, step="begin")
    guesses = list[str]()
    for number in range(1, STEPS + 1):
        before = {f"{name}_known": text for name, text in known(lab).items()}
        asked = {**before, "question": problem.question, "number": str(number), "brace": "{"}
        instruction = planned(roles, asked)
        outcome = (
            run(lab, roles, functions, {**asked, "instruction": instruction}) if instruction.strip("\n") else "error"
        )
        if outcome not in ("final", "continue"):
            break
        now = {"question": problem.question, **known(lab)}
        guesses.append(str(roles.mind.ask(fill(SUMMARISE, **now), step="summary")))
        if outcome == "final":
            return roles.mind.ask(fill(GUESS, question=problem.question, guesses=str(guesses)), step="guess")
    return ""


def eyes_and_tools(problem: Problem, roles: Roles) -> dict[str, Function]:
    """What programs may call."""
    return {
        "eyes_caption": lambda image: roles.eyes.ask(image, "Generate a caption of the image."),
        "eyes_answer": lambda image, question: roles.eyes.ask(image, f"Question: {question} Short answer:"),
        "mind_answer": lambda text: roles.mind.ask(str(text)),
        "detected": lambda image, words: problem.tools.detect(image, words=words).json,
        "depth_shown": lambda image: problem.tools.depth(image).images,
    }


def known(lab: Interpreter) -> dict[str, str]:
    """What the programs so far were, and what they found."""
    return {name: lab.run(f"print(_memory.known({name!r}), end='')", exact=True, step=name) for name in KNOWN}


def planned(roles: Roles, asked: dict[str, str]) -> str:
    """The first of the most probable instructions; asked again until there are enough (agent/planner.py, controller.py)."""
    options = list[tuple[str, float]]()
    for _ in range(TRIES):
        options += read(roles.mind.ask(fill(PLAN, **asked), step="plan"))
        if len(options) >= OPTIONS:
            break
    return max(options, key=lambda each: each[1], default=("", 0.0))[0]


def read(plan: str) -> list[tuple[str, float]]:
    """The instructions in a plan, with their probabilities."""
    text = plan.replace("```json", "").replace("```", "")
    try:
        listed = json.loads(text[text.find("[") : text.rfind("]") + 1])
    except ValueError:
        return []
    fit = [each for each in listed if isinstance(each, dict) and "instruction" in each]
    likely = [(str(each["instruction"]), each.get("probability")) for each in fit]
    return [(instruction, float(each)) for instruction, each in likely if isinstance(each, int | float)]


def run(lab: Interpreter, roles: Roles, functions: dict[str, Function], asked: dict[str, str]) -> str:
    """Have a program written and run it, again until it runs to its end (agent/reasoner.py); `final` gives an answer."""
    outcome = "error"
    for _ in range(TRIES):
        program: str = roles.coder.ask(fill(WRITE, **asked), step="written")
        for each in FENCES:
            program = program.replace(each, "")
        lab.run("_memory.new.clear(); image_patch = ImagePatch(image_0); _memory.finished = False", exact=True)
        ended = f"{program}\n_memory.finished = True"
        lab.run(ended, functions=functions, calls=100, seconds=60, step="ran")
        given = {"program": program}
        outcome = lab.run("print(_outcome(program), end='')", variables=given, exact=True, step="outcome")
        if outcome in ("final", "continue"):
            given |= {"instruction": asked["instruction"]}
            lab.run("_memory.instructions.append(instruction); _memory.codes.append(program)", (), given, exact=True)
            break
    return outcome
